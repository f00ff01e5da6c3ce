"""An outbox that holds what is gathered for many puts it before the next frame, exactly once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from support.events import PATIENCE

from framing.cores import PYTHON, Core, make_outbox


def number(core: Core, at: int) -> bytes:
    return core.build_command(str(at))


@pytest.mark.parametrize("way", ["send", "write", "fan_out", "take", "catch_up"])
def test_what_is_held_goes_before_whatever_comes_next(core: Core, way: str) -> None:
    outbox, gathered = make_outbox(core), core.Gathered(threading.Lock())
    outbox.send("before")
    gathered.frames.extend(number(core, at) for at in range(3))
    outbox.hold(gathered, 1)
    gathered.add(number(core, 3))
    assert (outbox.frames, gathered.caught_up) == (1, {})
    last = core.build_command("last") if way in ("send", "write", "fan_out") else b""
    if way == "send":
        outbox.send("last")
    elif way == "write":
        outbox.write(last)
    elif way == "fan_out":
        core.fan_out([outbox], last)
    elif way == "catch_up":
        outbox.catch_up()
        assert outbox.frames == 4
    expected = core.build_command("before") + b"".join(number(core, at) for at in (1, 2, 3)) + last
    assert b"".join(outbox.take()) == expected
    assert outbox.taken_frames == 4 + bool(last)
    assert gathered.caught_up == {outbox: 4}
    gathered.add(number(core, 4))
    outbox.catch_up()
    assert outbox.take() == [], "it holds nothing any more"


def test_all_of_it_is_shared_by_all(core: Core) -> None:
    outboxes, gathered = [make_outbox(core) for _ in range(3)], core.Gathered(threading.Lock())
    gathered.frames.extend(number(core, at) for at in range(100))
    for outbox in outboxes:
        outbox.hold(gathered, 0)
    gathered.join(0)
    chunks = []
    for outbox in outboxes:
        outbox.catch_up()
        assert outbox.frames == 100
        chunks += outbox.take()
    assert chunks == [b"".join(gathered.frames)] * 3
    assert len(set(map(id, chunks))) == 1


def test_what_comes_while_all_are_written_to_stays_gathered(core: Core) -> None:
    outboxes, gathered = [make_outbox(core) for _ in range(3)], core.Gathered(threading.Lock())
    gathered.frames.extend(number(core, at) for at in range(3))
    for outbox in outboxes:
        outbox.hold(gathered, 1)
    gathered.join(1)
    joined = number(core, 1) + number(core, 2)
    assert outboxes[0].take_until(3) == [joined]
    assert gathered.caught_up == {outboxes[0]: 3}, "it holds nothing any more"
    gathered.add(number(core, 3))
    assert [outbox.take_until(3) for outbox in outboxes] == [[], [joined], [joined]]
    assert gathered.caught_up == {outboxes[0]: 3}
    assert outboxes[1].take_until(2) == [], "it has got more than that"
    assert (outboxes[1].taken_frames, outboxes[1].taken_bytes) == (2, len(joined))
    gathered.forget(3)
    outboxes[1].send("own")
    assert outboxes[1].take_until(0) == [number(core, 3) + core.build_command("own")]
    assert outboxes[2].take() == [number(core, 3)]
    assert gathered.caught_up == {outboxes[0]: 3, outboxes[1]: 4, outboxes[2]: 4}


def test_what_all_have_got_may_be_forgotten(core: Core) -> None:
    outbox, gathered = make_outbox(core), core.Gathered(threading.Lock())
    gathered.frames.extend(number(core, at) for at in range(3))
    outbox.hold(gathered, 2)
    gathered.forget(2)
    assert (gathered.first, gathered.frames) == (2, [number(core, 2)])
    gathered.join(2)
    gathered.add(number(core, 3))
    outbox.catch_up()
    assert outbox.take() == [number(core, 2) + number(core, 3)], "it lacks more than was joined"
    assert gathered.caught_up == {outbox: 4}


def test_an_owner_is_queued_once_for_what_is_held(core: Core) -> None:
    queue: list[object] = []
    calls: list[int] = []
    outbox, gathered = (
        core.Outbox(queue, "me", lambda: calls.append(1)),
        core.Gathered(threading.Lock()),
    )
    outbox.hold(gathered, 0)
    outbox.catch_up()
    assert (queue, calls) == ([], []), "there was nothing to hold"
    gathered.add(number(core, 0))
    outbox.hold(gathered, 0)
    assert queue == []
    outbox.send("x")
    outbox.catch_up()
    assert (queue, calls) == (["me"], [1])


@pytest.mark.parametrize("end", ["close", "refuse"])
def test_an_outbox_that_takes_nothing_drops_what_it_holds(core: Core, end: str) -> None:
    outbox, gathered = make_outbox(core), core.Gathered(threading.Lock())
    gathered.frames.extend([number(core, 0), number(core, 1)])
    outbox.hold(gathered, 0)
    if end == "close":
        outbox.close()
        outbox.hold(gathered, 0)
    else:
        outbox.refusing = True
    assert outbox.send("more") is False
    assert outbox.take() == []
    assert (outbox.closed, outbox.refusing) == (end == "close", end == "refuse")
    assert outbox.refused == (3 if end == "refuse" else 0)
    outbox.refusing = False
    assert outbox.send("more") is (end == "refuse")


def test_threads_that_write_meanwhile_get_each_frame_once_and_before_their_own(core: Core) -> None:
    """A thread that has seen number n gathered writes n, which must not come before it."""
    outbox, gathered = make_outbox(core), core.Gathered(threading.Lock())
    seen = [-1]
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            outbox.send("saw", str(seen[0]).encode())

    threads = [threading.Thread(target=write) for _ in range(2)]
    outbox.hold(gathered, 0)
    for thread in threads:
        thread.start()
    for at in range(3000):
        gathered.add(core.build_command("joined", str(at).encode()))
        while gathered.caught_up:
            box, got = gathered.caught_up.popitem()
            if got > at:  # it has got this one already
                gathered.caught_up.setdefault(box, got)
                break
            box.hold(gathered, got)
        seen[0] = at
    done.set()
    for thread in threads:
        thread.join()
    outbox.catch_up()
    told = -1
    for command, message in core.Decoder().feed(b"".join(outbox.take())):
        if command == "joined":
            told += 1
            assert message == str(told).encode()
        else:
            assert int(message or b"") <= told
    assert told == 2999


def test_what_another_thread_queues_while_one_waits_for_the_lock_is_queued_once() -> None:
    class Contended:
        """A lock; before it is had for the first time, another thread has had it."""

        def __enter__(self) -> None:
            if not self.taken:
                self.taken = True
                frames.extend(outbox.take())

        def __exit__(self, *_: object) -> None: ...

        taken = False

    frames: list[bytes] = []
    outbox, gathered = make_outbox(PYTHON), PYTHON.Gathered(Contended())
    gathered.add(number(PYTHON, 1))
    outbox.hold(gathered, 0)
    outbox.send("after")
    frames += outbox.take()
    assert b"".join(frames) == number(PYTHON, 1) + PYTHON.build_command("after")


def test_an_outbox_that_is_told_to_hold_more_while_a_thread_writes_holds_it() -> None:
    """The loop learns that nothing is held any more while the thread is about to forget it."""
    outbox, gathered = make_outbox(PYTHON), PYTHON.Gathered(threading.Lock())
    holding: list[threading.Thread] = []

    class Watched(dict[Any, int]):
        def __setitem__(self, box: Any, got: int) -> None:
            thread = threading.Thread(target=outbox.hold, args=(gathered, got))
            thread.start()
            thread.join(0.05)  # it cannot end before what runs here, unless it does not wait
            holding.append(thread)

    gathered.caught_up = Watched()
    gathered.add(number(PYTHON, 1))
    outbox.hold(gathered, 0)
    outbox.send("own")
    holding[0].join(PATIENCE)
    gathered.add(number(PYTHON, 2))
    outbox.catch_up()
    assert b"".join(outbox.take()).endswith(number(PYTHON, 2))
