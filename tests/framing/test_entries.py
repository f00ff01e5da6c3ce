"""Entries of batches between servers, in both implementations."""

from __future__ import annotations

import os
import threading
from collections import deque
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hisock import _entries_py, _outbox_py
from hisock.framing import build_command

CORES: list[tuple[Any, Any]] = [(_entries_py, _outbox_py)]
if os.environ.get("HISOCK_PURE_PYTHON", "") in ("", "0"):
    CORES.append((import_module("hisock._entries"), import_module("hisock._outbox")))


@pytest.fixture(params=CORES, ids=lambda pair: pair[0].__name__.removeprefix("hisock._"))
def core(request: pytest.FixtureRequest) -> Any:
    """One implementation."""
    return request.param[0]


class Reached:
    """Where a message goes."""

    def __init__(self, target: str, *names: str) -> None:
        self.target = target
        self.names = names
        self.total = 3 * len(names)


def gatherer(core: Any, apart: list[Any], room: int = 100) -> Any:
    """One that this thread gathers with; notes what it is to put apart, and that it wakes."""

    class Gathering(core.EntryGatherer):  # type: ignore[misc] # a class of either core
        def wake(self) -> None:
            apart.append("wake")
            self.scheduled = True

        def take_gathered(self) -> None:
            apart.append(self.spread({}))

    made = Gathering()
    made.ident = threading.get_ident()
    made.is_current = lambda: made.ident == threading.get_ident()
    made.room = room
    made.put_apart = lambda *given: apart.append(given)
    return made


def test_what_is_gathered_goes_to_the_servers_that_are_named(core: Any) -> None:
    apart: list[Any] = []
    streams = gatherer(core, apart)
    assert streams.pass_on(Reached("gred", "a", "b"), "group", "red", b"one") == 6
    assert streams.pass_on(Reached("*", "b", "gone"), "everybody", "", b"two") == 6
    one, two = (build_command(t, f, 8) for t, f in (("gred", b"one"), ("*", b"two")))
    queues = {name: core.EntryQueue() for name in "abc"}
    assert streams.gathered_bytes == len(one + two)
    assert streams.spread(queues) == len(one + two)
    assert [queues[name].entries for name in "abc"] == [[one], [one, two], []]
    assert apart == ["wake"]
    assert not streams.has_gathered
    assert streams.take_each() == []


@pytest.mark.parametrize("case", ["target", "size", "thread", "before"])
def test_what_is_no_entry_or_not_of_this_thread_is_put_apart(core: Any, case: str) -> None:
    apart: list[Any] = []
    streams = gatherer(core, apart)
    reached = Reached("g$x$" if case == "target" else "gx", "a")
    if case == "thread":
        streams.ident += 1
    streams.has_before = case == "before"
    frame = bytes(90 if case == "size" else 9)
    assert streams.pass_on(reached, "group", "x", frame) == 3
    assert apart == [(reached, "group", "x", frame)]
    assert not streams.has_gathered


def test_much_that_is_gathered_is_taken_before_it_is_sent(core: Any) -> None:
    apart: list[Any] = []
    streams = gatherer(core, apart)
    for _ in range(130):
        streams.pass_on(Reached("*", "a"), "everybody", "", b"x")
    assert apart == ["wake", 0, 0]
    assert len(streams.take_each()) == 2


def test_what_is_gathered_while_another_thread_takes_it_is_not_lost() -> None:
    class Refilled(deque[Any]):
        """The thread gathers just when another one has found that nothing more is there."""

        late: tuple[Any, ...] = (("a",), b"late")

        def __bool__(self) -> bool:
            if not len(self) and self.late:
                self.append(self.late)
                self.late = ()
                return False
            return bool(len(self))

    streams = _entries_py.EntryGatherer()
    streams._gathered = Refilled([(("a",), b"first")])
    queues = {"a": _entries_py.EntryQueue()}
    streams.spread(queues)
    streams.spread(queues)
    assert queues["a"].entries == [b"first", b"late"]


@given(st.lists(st.tuples(st.sampled_from(["add", "drop", "clear", "sent"]), st.integers(0, 3))))
@settings(max_examples=100, deadline=None)
def test_queues_hold_the_same_after_every_step(steps: list[tuple[str, int]]) -> None:
    logs = []
    for core, _ in CORES:
        queue, log = core.EntryQueue(), []
        for what, number in steps:
            if what == "add":
                log.append(queue.add(bytes(number), number > 1))
            elif what == "sent":
                log.append(queue.sent(min(number, len(queue.entries))))
            else:
                log.append(queue.drop_volatile() if what == "drop" else queue.clear())
            log.append((list(queue.entries), queue.size))
        logs.append(log)
        assert queue.size == sum(map(len, queue.entries))
    assert logs[0] == logs[-1]


targets = st.sampled_from(["*", "gred", "gblue", "gnobody", "rhall", "rnowhere", "c7", "Gred", "?"])
frames = st.none() | st.sampled_from([b"", b"x", b"yy"]) | st.just(bytes(40_000))


def delivered(
    core: Any, out: Any, messages: list[tuple[str, bytes | None]], slow: bool
) -> list[object]:
    """What four outboxes hold of some messages, and what was called."""
    queue: list[int] = []
    calls: list[Any] = []
    due: list[None] = []

    def full(number: int) -> None:
        calls.append(("full", number))
        boxes[number].refusing = True

    boxes = [out.Outbox(queue, n, lambda: due.append(None), full=full) for n in range(4)]
    for box in boxes:
        box.limit = 50_000
    boxes[2].refusing = slow
    everyone, red, blue, hall = (
        dict.fromkeys(some) for some in (boxes, boxes[:2], boxes[2:], boxes[1:3])
    )
    rooms = {"hall": hall}
    core.deliver(
        messages,
        {"red": red, "blue": blue},
        everyone,
        lambda name: rooms.get(name, {}),
        lambda *given: calls.append(given),
    )
    took = [(box.frames, box.refused, b"".join(box.take())) for box in boxes]
    return [took, queue, sorted(calls), bool(due)]


@given(st.lists(st.tuples(targets, frames), max_size=20), st.booleans())
@settings(max_examples=150, deadline=None)
def test_both_deliver_the_same(messages: list[tuple[str, bytes | None]], slow: bool) -> None:
    results = [delivered(core, out, messages, slow) for core, out in CORES]
    assert results[0] == results[-1]
    assert all(core.all_commands(messages) for core, _ in CORES)


def test_frames_of_one_target_keep_their_order_and_are_one_write(core: Any) -> None:
    out = dict(CORES)[core]
    box = out.Outbox([], None, lambda: None)
    messages = [("gred", b"1"), ("*", b"2"), ("gred", b"3"), ("gred", b"4"), ("*", b"5")]
    core.deliver(messages, {"red": {box: 1}}, {box: 1}, dict, print)
    assert box.take() == [b"12345"]


def test_a_frame_without_a_command_is_found(core: Any) -> None:
    assert core.all_commands([])
    assert core.all_commands([("*", None), ("gred", b"x")])
    assert not core.all_commands([("*", b""), (None, b"$B")])


def test_what_is_no_outbox_is_refused(core: Any) -> None:
    with pytest.raises(TypeError):
        core.deliver([("*", b"x")], {}, {"Ada": 1}, dict, print)
