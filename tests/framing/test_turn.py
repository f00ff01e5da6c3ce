"""One turn of a connection: what is read, which handlers are called, and what is written when."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from framing.cores import CORES, Core
from hisock._framing_common import MANY, SHORT_READ
from hisock.framing import Frame


class Events:
    """Handlers, and what became of the frames that had none."""

    def __init__(self, trace: list[Any]) -> None:
        self.trace = trace
        self.plain_handlers: dict[str | None, Any] = {}

    def dispatch(self, reader: Any, frames: Iterator[Frame]) -> None:
        for command, message in frames:
            handler = self.plain_handlers.get(command)
            if handler is None or not message:
                self.trace.append(("dispatched", command, message))
                continue
            try:
                if type(result := handler(reader.info, message)) is type(waits):
                    raise self.never_awaited(result, command)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self.failed(reader, command, exc)

    def failed(self, reader: Any, command: str | None, exc: BaseException) -> None:
        self.trace.append(("failed", reader.info, command, repr(exc)))

    def never_awaited(self, coroutine: Any, command: str | None) -> TypeError:
        coroutine.close()
        return TypeError(f"{command} is never awaited")


async def wait() -> None:
    """What a plain handler may return by mistake."""


waits = wait()
waits.close()


class Transport:
    """Writes into the trace; is full after so many writes."""

    aborted = False

    def __init__(self, trace: list[Any], name: str, writer: Any, room: int = 10**6) -> None:
        self.trace, self.name, self.writer, self.room = trace, name, writer, room

    def write(self, chunk: bytes) -> None:
        self.trace.append(("written", self.name, bytes(chunk)))
        self.room -= 1
        self.writer.paused = self.room < 0

    def abort(self) -> None:
        self.aborted = True


class World:
    """Some readers of one queue, in one core."""

    def __init__(self, core: Core) -> None:
        self.core = core
        trace: list[Any] = []
        self.trace = trace
        self.events = Events(trace)
        self.me = threading.get_ident()

        class Queue(core.FlushQueue):  # type: ignore[name-defined,misc]  # of either core
            is_current = staticmethod(lambda: threading.get_ident() == self.me)

            def schedule_turn(self) -> None:
                trace.append("scheduled")

            def turn_soon(self) -> None:
                trace.append("soon")

        class Writer(core.Flusher):  # type: ignore[name-defined,misc]
            def flush_chunks(self, chunks: list[bytes]) -> None:
                trace.append(("chunks", [bytes(chunk) for chunk in chunks], self.latest))

            def fall_behind(self, largest: int) -> None:
                trace.append(("behind", largest))

        class Peer(core.Reader):  # type: ignore[name-defined,misc]
            def take_batch(self, frames: list[Frame]) -> None:
                trace.append(("batch", len(frames)))

            def read_much(self, nbytes: int) -> None:
                trace.append(("much", nbytes))

            def hold(self, held: int) -> None:
                self.held = held
                trace.append(("held", held))

            def fail_if_idle(self) -> None:
                trace.append(("error", str(self._decoder.error)))

            def interrupt(self, exc: BaseException) -> None:
                trace.append(("interrupted", repr(exc)))

        self.queue = Queue()
        self.peers: list[Any] = []
        scratch = core.Scratch()
        for name in ("Ada", "Bob"):
            peer = Peer(self.events, core.Decoder(16, 10**6, scratch), self.queue)
            peer.info = name
            outbox = core.Outbox(self.queue.queue, peer, self.queue.schedule)
            peer.writer = Writer(outbox)
            peer.writer._transport = Transport(trace, name, peer.writer)
            peer.joined = len(self.peers) + 1
            self.peers.append(peer)
        self.ada, self.bob = self.peers
        self.on("echo", lambda who, message: self.peer(who).writer.outbox.send("echo", message))
        self.on("other", lambda who, message: self.bob.writer.outbox.send("from", message))

    def peer(self, name: str) -> Any:
        return next(peer for peer in self.peers if peer.info == name)

    def on(self, command: str, handler: Any) -> None:
        self.events.plain_handlers[command] = handler

    def frames(self, *frames: tuple[str, bytes | None]) -> bytes:
        return b"".join(self.core.build_command(*frame) for frame in frames)

    def read(self, peer: Any, data: bytes) -> list[Any]:
        """Have a peer read something, as a loop does; what happened."""
        del self.trace[:]
        view = peer._decoder.get_buffer(-1)
        view[: len(data)] = data
        peer.buffer_updated(len(data))
        return list(self.trace)


@pytest.fixture
def world(core: Core) -> World:
    return World(core)


def test_an_answer_to_the_sender_is_written_before_the_next_read(world: World) -> None:
    two = world.frames(("echo", b"1"), ("echo", b"2"))
    assert world.read(world.ada, two) == [("written", "Ada", two)], "both at once"
    assert (world.queue.queue, world.queue.due, world.queue.written) == ([], False, 1)
    del world.trace[:]
    world.ada.feed(two)
    assert world.trace == [("written", "Ada", two)]


def test_what_is_for_others_waits_for_the_end_of_the_iteration(world: World) -> None:
    assert world.read(world.ada, world.frames(("other", b"1"))) == ["soon"]
    assert world.queue.queue == [world.bob]
    # The queue has a turn that is scheduled already, so that an answer waits for it too.
    assert world.read(world.ada, world.frames(("echo", b"2"))) == []
    assert world.queue.queue == [world.bob, world.ada]
    world.queue.flush_first(1)
    assert [entry[:2] for entry in world.trace] == [("written", "Bob")]
    assert (world.queue.queue, world.queue.written) == ([world.ada], 1)
    world.queue.flush_first(64)
    assert [entry[:2] for entry in world.trace] == [("written", "Bob"), ("written", "Ada")]
    assert (world.queue.queue, world.queue.written) == ([], 2)
    world.queue.flush_first(64)


def test_one_that_cannot_be_written_to_keeps_no_other_waiting(world: World) -> None:
    world.bob.writer.outbox.send("one", b"1")
    world.queue.queue.append("no reader")
    world.ada.writer.outbox.send("two", b"2")
    del world.bob.writer._transport.trace
    with pytest.raises(AttributeError, match="trace"):
        world.queue.flush_first(2)
    assert world.bob.writer._transport.aborted, "what was lost is not followed by anything"
    assert (world.queue.queue, world.queue.written) == (["no reader", world.ada], 1)
    with pytest.raises(TypeError, match="holds readers, not str"):
        world.queue.flush_first(64)
    assert (world.queue.queue, world.queue.written) == ([world.ada], 2)
    world.queue.flush_first(64)
    assert world.trace[-1] == ("written", "Ada", world.frames(("two", b"2")))


def test_an_answer_behind_a_frame_for_another_waits_with_it(world: World) -> None:
    data = world.frames(("other", b"1"), ("echo", b"2"))
    assert world.read(world.ada, data) == ["soon"]
    assert world.queue.queue == [world.bob, world.ada]


def test_another_thread_schedules_for_itself_while_one_reads(world: World) -> None:
    def handler(who: str, message: bytes) -> None:
        thread = threading.Thread(target=world.bob.writer.outbox.send, args=("thread",))
        thread.start()
        thread.join()

    world.on("start", handler)
    assert world.read(world.ada, world.frames(("start", b"1"))) == ["scheduled"]
    assert not world.queue.due
    world.ada.writer.outbox.send("outside of a read")
    assert world.trace == ["scheduled"], "the queue was not empty"


def test_an_error_of_a_handler_is_reported_and_the_next_frame_handled(world: World) -> None:
    world.on("bad", lambda who, message: 1 / 0)
    world.on("coroutine", lambda who, message: wait())
    data = world.frames(("bad", b"1"), ("coroutine", b"2"), ("echo", b"3"))
    assert world.read(world.ada, data) == [
        ("failed", "Ada", "bad", "ZeroDivisionError('division by zero')"),
        ("failed", "Ada", "coroutine", "TypeError('coroutine is never awaited')"),
        ("written", "Ada", world.frames(("echo", b"3"))),
    ]


def test_from_the_first_frame_that_needs_more_the_dispatcher_takes_over(world: World) -> None:
    data = world.frames(("echo", b"1"), ("unknown", b"2"), ("echo", None), ("echo", b"4"))
    assert world.read(world.ada, data + world.core.build_raw(b"raw")) == [
        ("dispatched", "unknown", b"2"),
        ("dispatched", "echo", None),
        ("dispatched", None, b"raw"),
        ("written", "Ada", world.frames(("echo", b"1"), ("echo", b"4"))),
    ]


@pytest.mark.parametrize("before", [(), (("unknown", b"1"),)])
def test_nothing_is_handled_after_the_end(world: World, before: Any) -> None:
    def end(who: str, message: bytes) -> None:
        world.ada._ended = True
        world.ada._batch.clear()

    world.on("end", end)
    seen = world.read(world.ada, world.frames(*before, ("end", b"1"), ("echo", b"2")))
    assert seen == [("dispatched", *frame) for frame in before]
    assert world.ada._batch is None
    assert world.read(world.ada, world.frames(("echo", b"3"))) == []
    world.trace.clear()
    world.ada.feed(world.frames(("echo", b"4")))
    assert world.trace == []


@pytest.mark.parametrize("before", [(), (("unknown", b"1"),)])
def test_a_handler_that_ends_the_program_ends_the_read(world: World, before: Any) -> None:
    def leave(who: str, message: bytes) -> None:
        raise SystemExit(3)

    world.on("exit", leave)
    data = world.frames(*before, ("echo", b"1"), ("exit", b"2"), ("echo", b"3"))
    assert world.read(world.ada, data)[len(before) :] == [
        ("interrupted", "SystemExit(3)"),
        ("written", "Ada", world.frames(("echo", b"1"))),
    ]
    world.ada.writer.outbox.send("outside of a read")
    assert world.trace[-1] == "scheduled"


@pytest.mark.parametrize("why", ["limit", "busy", "joined", "many"])
def test_what_is_not_usual_is_left_to_the_server(world: World, why: str) -> None:
    count = MANY if why == "many" else 1
    if why == "limit":
        world.ada.limit = object()
    elif why == "busy":
        world.ada.busy = 1
    elif why == "joined":
        world.ada.joined = 0
    assert world.read(world.ada, world.frames(("echo", b"1")) * count) == [("batch", count)]


def test_frames_that_waited_are_dispatched_as_those_of_a_read(world: World) -> None:
    data = [("echo", b"1"), ("bad", b"2"), ("echo", b"3"), ("unknown", b"4"), ("echo", b"5")]
    world.on("bad", lambda who, message: 1 / 0)
    world.ada.dispatch_all(list(data))
    assert world.trace == [
        "scheduled",
        ("failed", "Ada", "bad", "ZeroDivisionError('division by zero')"),
        ("dispatched", "unknown", b"4"),
    ]
    echoed = world.frames(("echo", b"1"), ("echo", b"3"), ("echo", b"5"))
    assert b"".join(world.ada.writer.outbox.take()) == echoed
    assert world.ada._batch is None


def test_the_end_leaves_out_what_waited_behind_it(world: World) -> None:
    world.on("end", lambda who, message: world.ada._batch.clear())
    world.ada.dispatch_all([("echo", b"1"), ("end", b"2"), ("echo", b"3"), ("unknown", b"4")])
    assert world.trace == ["scheduled"]
    assert b"".join(world.ada.writer.outbox.take()) == world.frames(("echo", b"1"))


def test_a_handler_that_ends_the_program_ends_what_waited_as_well(world: World) -> None:
    def leave(who: str, message: bytes) -> None:
        raise KeyboardInterrupt

    world.on("exit", leave)
    with pytest.raises(KeyboardInterrupt):
        world.ada.dispatch_all([("echo", b"1"), ("exit", b"2"), ("unknown", b"3")])
    assert world.ada.writer.outbox.frames == 1
    assert not [entry for entry in world.trace if entry[0] == "dispatched"]


def test_a_long_read_is_told_after_it_is_answered(world: World) -> None:
    long = world.frames(("echo", b"x" * SHORT_READ))
    assert [entry[0] for entry in world.read(world.ada, long)] == ["written", "much"]
    part = long[: SHORT_READ + 1]
    world.read(world.bob, part)
    assert world.trace == [("held", world.bob._decoder.held)], "no frame, no turn"
    assert world.read(world.bob, long[SHORT_READ + 1 :]) == [
        ("written", "Bob", long),
        ("held", 0),
    ]


def test_a_transport_that_is_full_gets_nothing_until_it_is_not(world: World) -> None:
    writer = world.ada.writer
    writer._transport.room = 0
    one = world.frames(("echo", b"1"))
    assert world.read(world.ada, one) == [("written", "Ada", one), ("behind", len(one))]
    assert world.read(world.ada, one) == []
    assert world.queue.queue == []
    writer._ending = True
    writer.flush()
    assert world.trace == [("written", "Ada", one)], "the end waits for nothing"
    writer.latest = {"key": b"state"}
    writer.flush()
    assert world.trace[1:] == [("chunks", [], {"key": b"state"})]


def test_a_broken_stream_is_told_behind_its_frames(world: World) -> None:
    seen = world.read(world.ada, world.frames(("echo", b"1")) + b"broken" * 3)
    assert [entry[0] for entry in seen] == ["written", "error"]
    assert [entry[0] for entry in world.read(world.ada, b"more")] == ["error"]


def test_both_do_the_same_with_whatever_comes() -> None:
    rng = random.Random(7)
    for _ in range(200):
        kinds = [rng.choice(("echo", "other", "unknown", "bad", "end")) for _ in range(6)]
        messages = [rng.choice((None, b"", b"m" * rng.choice((1, 64, 40000)))) for _ in kinds]
        cuts = sorted(rng.sample(range(1, 60), 3))
        room = rng.choice((0, 1, 100))
        seen = []
        for core in CORES:
            world = World(core)
            world.ada.writer._transport.room = room
            world.on("bad", lambda who, message: 1 / 0)
            world.on("end", lambda who, message, to=world.ada: to._batch and to._batch.clear())
            data = world.frames(*zip(kinds, messages, strict=True))
            happened: list[Any] = []
            for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
                for at in range(start, end, 60000):
                    happened += world.read(world.ada, data[at : min(end, at + 60000)])
            state = (world.queue.written, world.queue.due, len(world.queue.queue))
            seen.append((happened, state, world.ada.held, world.ada.alive))
        assert all(each == seen[0] for each in seen)
