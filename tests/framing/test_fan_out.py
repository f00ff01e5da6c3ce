"""A frame for many goes into every outbox, built once."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from framing.cores import Calls, Core, make_outbox
from hisock.framing import Outbox

LARGE = 32 * 1024


@pytest.mark.parametrize("kind", [list, tuple, iter, dict.fromkeys, lambda boxes: iter(boxes)])
def test_a_frame_goes_to_every_outbox(core: Core, kind: Any) -> None:
    queue: list[object] = []
    calls = Calls()
    boxes = [core.Outbox(queue, i, calls) for i in range(20)]
    boxes[3].send("earlier")
    boxes[5].close()
    calls.count = 0
    queue.clear()
    built = core.build_command("move", b"north")
    assert core.fan_out(kind(boxes), built) == 19
    for i, box in enumerate(boxes):
        before = core.build_command("earlier") if i == 3 else b""
        assert box.take() == ([] if i == 5 else [before + built])
    assert queue == [i for i in range(20) if i not in (3, 5)]
    assert calls.count == 1


def test_a_large_frame_is_fanned_out_by_reference(core: Core) -> None:
    boxes = [make_outbox(core) for _ in range(3)]
    built = core.build_command("big", bytes(LARGE))
    boxes[1].send("earlier")
    assert core.fan_out(boxes, built) == 3
    taken = [box.take() for box in boxes]
    assert taken[0][-1] is taken[1][-1] is taken[2][-1] is built
    assert [len(chunks) for chunks in taken] == [1, 2, 1]


def test_outboxes_of_several_queues_are_all_scheduled(core: Core) -> None:
    calls = [Calls() for _ in range(4)]
    boxes = [core.Outbox([], i, calls[i]) for i in range(4)]
    assert core.fan_out(dict.fromkeys(boxes), b"x") == 4
    assert [call.count for call in calls] == [1] * 4


def test_joined_frames_go_to_every_outbox_and_each_is_counted(core: Core) -> None:
    queue: list[object] = []
    calls = Calls()
    full: list[object] = []
    boxes = [core.Outbox(queue, i, calls, full=full.append) for i in range(4)]
    boxes[1].refusing = True
    boxes[2].close()
    boxes[3].limit = 5
    built = [core.build_command(name) for name in ("one", "two", "three")]
    assert core.fan_out_joined(dict.fromkeys(boxes), b"".join(built), 3) == 2
    assert [(box.frames, box.refused) for box in boxes] == [(3, 0), (0, 3), (0, 0), (3, 0)]
    assert (queue, calls.count, full) == ([0, 3], 1, [3])
    boxes[0].send("four")
    assert boxes[0].take() == [b"".join(built) + core.build_command("four")]
    with pytest.raises(TypeError, match="writes to outboxes, not to str"):
        core.fan_out_joined(["text"], b"x", 1)


def test_nobody_to_send_to_is_no_error(core: Core) -> None:
    assert core.fan_out([], b"x") == core.fan_out({}, b"x") == 0


@pytest.mark.parametrize("kind", [list, dict.fromkeys])
@pytest.mark.parametrize("other", ["text", None])
def test_something_else_among_the_outboxes_is_an_error_and_the_others_are_announced(
    core: Core, kind: Any, other: Any
) -> None:
    queue: list[object] = []
    calls = Calls()
    box = core.Outbox(queue, "me", calls)
    with pytest.raises(TypeError, match=f"writes to outboxes, not to {type(other).__name__}"):
        core.fan_out(kind([box, other]), b"x")
    assert (queue, calls.count, box.take()) == (["me"], 1, [b"x"])


def test_schedule_may_change_the_dictionary_that_is_fanned_out_to(core: Core) -> None:
    boxes: dict[Outbox, int] = {}

    def schedule() -> None:
        for _ in range(100):
            boxes[make_outbox(core)] = 0

    for i in range(50):
        boxes[core.Outbox([], i, schedule)] = i
    assert core.fan_out(boxes, b"x") == 50
    assert len(boxes) == 50 + 50 * 100


def test_the_collector_may_run_anything_during_a_fan_out(core: Core) -> None:
    boxes: dict[Outbox, int] = {make_outbox(core): i for i in range(50)}
    built = core.build_raw(b"x" * 100)

    def grow(phase: str, info: dict[str, int]) -> None:
        boxes[make_outbox(core)] = 0
        for box in list(boxes)[:5]:
            box.take()

    before = gc.get_threshold()
    gc.callbacks.append(grow)
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(50):
            core.fan_out(boxes, built)
            for box in list(boxes)[:25]:
                box.send("large", bytes(LARGE))
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(grow)
    for box in boxes:
        assert all(type(chunk) is bytes for chunk in box.take())


def test_a_large_frame_goes_by_reference_even_where_there_is_room_for_a_copy(core: Core) -> None:
    box = make_outbox(core)
    for _ in range(80):
        box.send("fill", bytes(1000))
    box.take()  # so that room for as much is made for what comes next
    built = core.build_command("big", bytes(LARGE))
    box.send("first")
    assert core.fan_out([box], built) == 1
    assert box.take()[-1] is built


def test_an_empty_frame_may_follow_a_large_one(core: Core) -> None:
    box = make_outbox(core)
    box.write(bytes(LARGE))
    assert core.fan_out([box], b"") == 1
    assert box.frames == 2
    assert b"".join(box.take()) == bytes(LARGE)


def test_a_frame_that_reaches_the_limit_is_announced_although_others_wait(core: Core) -> None:
    full: list[object] = []
    boxes = [core.Outbox([], i, Calls(), full=full.append) for i in range(2)]
    for box in boxes:
        box.send("first")
        box.send("second")
    boxes[1].limit = boxes[1].size + 1
    assert core.fan_out(dict.fromkeys(boxes), b"x") == 2
    assert full == []
    assert core.fan_out(dict.fromkeys(boxes), b"x") == 2
    assert full == [1]
    assert [box.frames for box in boxes] == [4, 4]
