"""What threads may do to an outbox at once; on a free-threaded Python they really do.

Where there is a GIL, threads take turns as often as possible.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from support.events import PATIENCE

from framing.cores import Core, make_outbox

ROUNDS = 300
MOST = 4096  # bytes that wait, or threads would write faster than anybody reads
THREADS = 3


@pytest.fixture(autouse=True)
def switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Together:
    """Threads that begin at once; what one of them raises is raised by :meth:`join`."""

    def __init__(self, *funcs: Callable[[], object]) -> None:
        self._raised: list[BaseException] = []
        self._start = threading.Barrier(len(funcs))
        self._threads = [
            threading.Thread(target=self._run, args=(func,), daemon=True) for func in funcs
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, func: Callable[[], object]) -> None:
        try:
            self._start.wait(PATIENCE)
            func()
        except BaseException as exc:
            self._raised.append(exc)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)
        if self._raised:
            raise self._raised[0]
        assert not any(thread.is_alive() for thread in self._threads)


class Peer:
    """An owner, as a connection is one of its outbox: only the outbox keeps it."""


def test_an_outbox_is_released_while_a_thread_waits_to_announce_it(core: Core) -> None:
    frame = core.build_command("move", b"north")
    queue: list[Any] = [Peer()] * 200_000  # to copy it takes a while, for which it is locked
    told: list[Any] = []
    for _ in range(20):
        box: Any = core.Outbox(queue, Peer(), lambda: None, 16, told.append)
        box.limit = 1
        released = threading.Event()

        def copy(released: threading.Event = released) -> None:
            while not released.is_set():
                queue[:]

        def release(box: Any = box, released: threading.Event = released) -> None:
            while not box.size:
                pass  # the frame is in the outbox; to announce it the queue is needed
            box.close()
            box.release()
            released.set()

        Together(copy, partial(box.write, frame), release).join()
    assert {type(owner) for owner in queue + told} == {Peer}


def test_frames_are_forgotten_while_a_thread_queues_those_behind_them(core: Core) -> None:
    many = 3000
    frames = [core.build_command("joined", b"%d" % at) for at in range(2 * many)]
    for _ in range(20):
        box, gathered = make_outbox(core), core.Gathered(threading.Lock())
        gathered.frames.extend(frames)
        box.hold(gathered, many)
        Together(partial(box.send, "own"), partial(gathered.forget, many)).join()
        assert b"".join(box.take()) == b"".join([*frames[many:], core.build_command("own")])
        assert gathered.caught_up == {box: 2 * many}


def test_what_is_forgotten_meanwhile_has_been_got(core: Core) -> None:
    """The loop gathers, writes to all and forgets, while other threads write to the same."""
    boxes = [make_outbox(core) for _ in range(3)]
    gathered = core.Gathered(threading.Lock())
    wires = [bytearray() for _ in boxes]
    done = threading.Event()
    for box in boxes:
        gathered.got(box, 0)

    def write() -> None:
        while not done.is_set():
            for box in boxes:
                if box.size < MOST:
                    box.send("own")

    def hold(count: int) -> None:
        while (caught_up := gathered.pop_caught_up()) is not None:
            box, got = caught_up
            if got == count:
                current.append(box)
            else:
                box.hold(gathered, got)
        while current:
            gathered.got(current.pop(), count)

    current: list[Any] = []

    def announce() -> None:
        try:
            for at in range(ROUNDS):
                gathered.add(core.build_command("joined", b"%d" % at))
                hold(at + 1)
                if at % 3 == 2:
                    gathered.join(gathered.first)
                    for box, wire in zip(boxes, wires, strict=True):
                        wire += b"".join(box.take_until(at + 1))
                    hold(at + 1)
                    gathered.forget(at + 1)
        finally:
            done.set()

    Together(announce, *[write] * THREADS).join()
    for box, wire in zip(boxes, wires, strict=True):
        wire += b"".join(box.take())
        joined = [m for command, m in core.Decoder().feed(bytes(wire)) if command == "joined"]
        assert joined == [b"%d" % at for at in range(ROUNDS)]


def test_what_is_written_to_all_reaches_those_that_stay(core: Core) -> None:
    """Threads write to everybody, while the loop takes what waits, and others come and go."""
    frame = core.build_command("move", b"north")
    staying = [make_outbox(core) for _ in range(3)]
    everybody: dict[Any, None] = dict.fromkeys(staying)
    came = [0] * len(staying)
    done = threading.Event()

    def write() -> None:
        for _ in range(ROUNDS):
            core.fan_out(everybody, frame)

    def come_and_go() -> None:
        while not done.is_set():
            guest = make_outbox(core)
            everybody[guest] = None
            del everybody[guest]
            guest.close()
            guest.release()

    def take() -> None:
        for at, box in enumerate(staying):
            came[at] += len(core.Decoder().feed(b"".join(box.take())))

    def take_all() -> None:
        while not done.is_set():
            take()

    def write_all() -> None:
        writers = Together(*[write] * THREADS)
        try:
            writers.join()
        finally:
            done.set()

    Together(write_all, come_and_go, take_all).join()
    take()
    assert came == [THREADS * ROUNDS] * len(staying)


def test_an_outbox_of_a_recipient_that_goes_meanwhile(core: Core) -> None:
    """Threads send to a client while it comes and goes: to its outbox, or to none."""
    info = core.Recipient()
    done = threading.Event()

    def come_and_go() -> None:
        try:
            for _ in range(10 * ROUNDS):
                info._outbox = make_outbox(core)
                info._outbox = None
        finally:
            done.set()

    def look() -> None:
        while not done.is_set():
            box = info._outbox
            if box is not None:
                box.send("move", b"north")

    Together(come_and_go, *[look] * THREADS).join()
