"""Frames that wait keep their order, are counted, and hold up reading; so do other reasons."""

from __future__ import annotations

import gc
from collections import deque
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hisock._core.account import DEFERRED, Account, Total, Use, frame_size
from hisock._core.inbox import Inbox
from hisock._core.pausing import Pauses
from hisock.framing import Frame

frames = st.tuples(
    st.none() | st.sampled_from(["a", "move"]),
    st.none() | st.sampled_from([b"", b"1", b"$CHNAME$Ada", b"$CHGROUP$red", b"$CALL$7$CMD$a"]),
)


class Reader:
    """Something that is read, or not."""

    def __init__(self) -> None:
        self.reading = True
        self.changes = 0

    def set_reading(self, reading: bool) -> None:
        assert reading is not self.reading, "it is told what it knows"
        self.reading = reading
        self.changes += 1


@pytest.mark.parametrize("order", list(permutations(["inbox", "rate", "turn"])))
def test_reading_goes_on_when_the_last_reason_has_gone(order: tuple[str, ...]) -> None:
    reader = Reader()
    pauses = Pauses(reader.set_reading)
    for reason in ("inbox", "rate", "turn", "turn"):
        pauses.set(reason, True)
        assert not reader.reading
    for reason in order:
        assert not reader.reading
        assert pauses
        pauses.set(reason, False)
        pauses.set(reason, False)
    assert reader.reading
    assert not pauses
    assert reader.changes == 2


def full_inbox(kind: Use = Use.DEFERRED) -> tuple[Inbox, Reader, Pauses, Total]:
    total, reader = Total(10**9), Reader()
    pauses = Pauses(reader.set_reading)
    inbox = Inbox(Account(total), pauses, kind)
    for _ in range(DEFERRED.items + 1):
        inbox.put(("a", b"1"))
    assert not reader.reading
    return inbox, reader, pauses, total


def test_reading_pauses_while_many_frames_wait() -> None:
    inbox, reader, _, _ = full_inbox()
    for _ in range(DEFERRED.items // 2):
        inbox.pop()
    assert not reader.reading
    inbox.pop()
    assert reader.reading
    assert len(inbox) == DEFERRED.items // 2


@pytest.mark.parametrize("frame", [("a", bytes(DEFERRED.size)), ("x" * DEFERRED.size, None)])
def test_reading_pauses_while_much_waits_in_commands_or_messages(frame: Frame) -> None:
    total, reader = Total(10**9), Reader()
    inbox = Inbox(Account(total), Pauses(reader.set_reading))
    inbox.put(("a", b"1"))
    assert reader.reading
    inbox.put(frame)
    assert not reader.reading
    assert total.size > DEFERRED.size
    assert [inbox.pop(), inbox.pop(), inbox.pop()] == [("a", b"1"), frame, None]
    assert reader.reading
    assert total.size == 0


def test_frames_that_are_forgotten_are_not_counted_any_longer() -> None:
    inbox, reader, _, total = full_inbox()
    inbox.take_all()
    inbox.put((None, b"$CALL$1" + bytes(DEFERRED.size)))
    inbox.put((None, b"$KEEPALIVE$"))
    assert not reader.reading
    inbox.drop_calls()
    assert reader.reading
    assert total.size == frame_size(None, b"$KEEPALIVE$")
    assert inbox.take_all() == [(None, b"$KEEPALIVE$")]
    assert (total.size, len(inbox)) == (0, 0)


def test_another_reason_outlives_a_full_inbox() -> None:
    inbox, reader, pauses, _ = full_inbox()
    pauses.set("rate", True)
    inbox.take_all()
    assert not reader.reading
    pauses.set("rate", False)
    assert reader.reading


def test_what_came_before_a_client_was_let_in_waits_for_handlers_afterwards() -> None:
    inbox, reader, _, total = full_inbox(Use.ADMISSION)
    size = total.size
    assert total.by_kind()["admission"] == size
    inbox.admit()
    assert (total.by_kind()["admission"], total.by_kind()["deferred"]) == (0, size)
    assert not reader.reading
    assert len(inbox.take_all()) == DEFERRED.items + 1
    assert reader.reading


several = st.lists(frames, max_size=5)
acts = st.sampled_from(["pop", "admit", "drop", "clear"])


@given(st.lists(st.one_of(frames, several, acts), max_size=30))
@settings(max_examples=150, deadline=None)
def test_an_inbox_is_a_queue_that_counts(steps: list[Frame | list[Frame] | str]) -> None:
    total = Total(10**9)
    inbox = Inbox(Account(total), Pauses(lambda reading: None), Use.ADMISSION)
    model: list[Frame] = []
    for step in steps:
        if isinstance(step, tuple):
            inbox.put(step)
            model.append(step)
        elif isinstance(step, list):
            inbox.put_all(step)
            model += step
        elif step == "pop":
            assert inbox.pop() == (model.pop(0) if model else None)
        elif step == "admit":
            inbox.admit()
        elif step == "drop":
            inbox.drop_calls()
            model = [frame for frame in model if frame != (None, b"$CALL$7$CMD$a")]
        else:
            assert inbox.take_all() == model
            model = []
        changes = (b"$CHNAME$Ada", b"$CHGROUP$red")
        assert inbox.changes == sum(c is None and m in changes for c, m in model)
        assert (len(inbox), total.size) == (len(model), sum(frame_size(*each) for each in model))
    assert inbox.take_all() == model


def test_full_garbage_collections_do_not_look_at_each_frame() -> None:
    """With hundreds of thousands of frames, one took 30 ms longer, in which nobody is served."""
    inbox = Inbox(Account(Total(10**9)), Pauses(Reader().set_reading))
    for number in range(10):
        inbox.put_all([("a", b"%d" % n) for n in range(number, 1000)])
    inbox.pop()
    gc.collect()
    gc.collect()  # a tuple is untracked after those that it holds
    containers = [each for each in gc.get_objects() if type(each) in (deque, list, tuple)]
    frames = sum(
        1
        for each in containers
        for frame in each
        if type(frame) is tuple and len(frame) == 2 and frame[0] == "a"
    )
    assert len(inbox) > 9000
    assert frames < 128, "all but the first and the last ones are in tuples that are not tracked"
