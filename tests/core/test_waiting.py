"""Who gets a frame that no handler takes, and how long it is kept for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hisock._core.waiting import ReceivedFrame

from .driving import Clock, KeptWaiter, make_waiting


def frame(command: str | None, message: bytes = b"", source: str | None = None) -> ReceivedFrame:
    return ReceivedFrame(command, message, source)


def test_the_oldest_waiter_on_the_command_comes_before_those_on_any() -> None:
    waiting = make_waiting()
    bare, first, second = KeptWaiter(), KeptWaiter(), KeptWaiter()
    waiting.add((None, None), bare)
    waiting.add(("a", None), first)
    waiting.add(("a", None), second)
    for message in (b"1", b"2", b"3"):
        assert waiting.offer(frame("a", message))
    assert not waiting.offer(frame("a", b"4"))
    assert (first.messages, second.messages, bare.messages) == ([b"1"], [b"2"], [b"3"])


def test_a_frame_without_a_command_is_for_those_who_wait_for_any() -> None:
    waiting = make_waiting()
    named, bare = KeptWaiter(), KeptWaiter()
    waiting.add(("a", None), named)
    waiting.add((None, None), bare)
    assert waiting.offer(frame(None, b"raw"))
    assert (named.messages, bare.messages) == ([], [b"raw"])


def test_those_who_wait_for_one_client_come_first() -> None:
    waiting = make_waiting()
    anybody, ada, bob = KeptWaiter(), KeptWaiter(), KeptWaiter()
    waiting.add(("a", None), anybody)
    waiting.add(("a", "bob"), bob)
    waiting.add((None, "ada"), ada)
    assert waiting.wants("a", "ada")
    assert waiting.wants("b", "ada")
    assert not waiting.wants("b", "bob")
    assert waiting.offer(frame("a", b"1", "ada"))
    assert anybody.messages == [b"1"], "the command counts more than the client"
    assert waiting.offer(frame("a", b"2", "ada"))
    assert ada.messages == [b"2"]
    assert not waiting.offer(frame("a", b"3", "ada"))
    assert bob.messages == []


def test_a_frame_without_a_command_is_for_those_who_wait_for_its_client_first() -> None:
    waiting = make_waiting()
    anybody, named, ada = KeptWaiter(), KeptWaiter(), KeptWaiter()
    waiting.add((None, None), anybody)
    waiting.add(("a", "ada"), named)
    waiting.add((None, "ada"), ada)
    for message in (b"1", b"2"):
        assert waiting.offer(frame(None, message, "ada"))
    assert not waiting.offer(frame(None, b"3", "ada"))
    assert (ada.messages, anybody.messages, named.messages) == ([b"1"], [b"2"], [])


def test_a_waiter_that_has_given_up_is_passed_over() -> None:
    waiting = make_waiting()
    gone, there = KeptWaiter(gone=True), KeptWaiter()
    waiting.add(("a", None), gone)
    waiting.add(("a", None), there)
    assert waiting.offer(frame("a", b"1"))
    assert there.messages == [b"1"]
    waiting.add(("a", None), gone)
    assert not waiting.offer(frame("a", b"2"))


def test_a_waiter_that_is_removed_gets_nothing() -> None:
    waiting = make_waiting()
    first, second = KeptWaiter(), KeptWaiter()
    waiting.add(("a", None), first)
    waiting.add(("a", None), second)
    waiting.remove(("a", None), first)
    waiting.remove(("a", None), first)
    waiting.remove(("b", None), first)
    assert waiting.offer(frame("a", b"1"))
    assert (first.messages, second.messages) == ([], [b"1"])
    waiting.add(("a", None), first)
    waiting.remove(("a", None), first)
    assert not waiting.wants("a", None)


def test_what_nobody_took_is_for_who_comes_to_wait_within_a_second() -> None:
    clock = Clock()
    waiting = make_waiting(clock)
    waiting.keep(frame("a", b"1"))
    waiting.keep(frame("b", b"2"))
    named, bare, late = KeptWaiter(), KeptWaiter(), KeptWaiter()
    waiting.add(("b", None), named)
    waiting.add((None, None), bare)
    assert (named.messages, bare.messages) == ([b"2"], [b"1"])
    waiting.keep(frame("c", b"3"))
    clock.now += 1.1
    waiting.add(("c", None), late)
    assert late.messages == []
    waiting.keep(frame("c", b"4"))
    assert late.messages == [b"4"], "somebody waits by the time it is to be kept"


def test_what_is_kept_is_told_apart_by_its_client() -> None:
    waiting = make_waiting()
    waiting.keep(frame("a", b"1", "ada"))
    waiting.keep(frame("a", b"2", "bob"))
    bob = KeptWaiter()
    waiting.add(("a", "bob"), bob)
    assert bob.messages == [b"2"]


def test_a_waiter_that_gave_up_before_it_was_added_loses_nothing() -> None:
    waiting = make_waiting()
    waiting.keep(frame("a", b"1"))
    waiting.add(("a", None), KeptWaiter(gone=True))
    assert waiting.wants("a", None)


def test_what_came_before_a_send_is_no_answer_to_it() -> None:
    class Thread: ...

    mine, me = Thread(), KeptWaiter()
    waiting = make_waiting()
    waiting.keep(frame("a", b"old"))
    waiting.sent(mine)
    waiting.keep(frame("a", b"new"))
    waiting.sent(Thread())
    waiting.add(("a", None), me, mine)
    assert me.messages == [b"new"], "what another thread sends does not disturb"
    stranger = KeptWaiter()
    waiting.keep(frame("a", b"newest"))
    waiting.add(("a", None), stranger, Thread())
    assert stranger.messages == [b"newest"]


def test_a_sender_that_sends_again_does_not_take_what_came_in_between() -> None:
    class Thread: ...

    mine, me = Thread(), KeptWaiter()
    waiting = make_waiting()
    waiting.sent(mine)
    waiting.keep(frame("a", b"first"))
    waiting.sent(mine)
    waiting.sent(mine)
    waiting.add(("a", None), me, mine)
    assert me.messages == []
    waiting.keep(frame("a", b"second"))
    assert me.messages == [b"second"]


def test_what_is_kept_is_bounded_in_frames_and_bytes() -> None:
    waiting = make_waiting(frames=2, most_bytes=10)
    for message in (b"1", b"2", b"3"):
        waiting.keep(frame("a", message))
    waiting.keep(frame("b", bytes(9)))
    waiting.keep(frame("c", bytes(20)))
    assert [kept.command for kept in waiting.take_all()] == ["c"], "one is kept, however long"
    assert waiting.take_all() == []
    assert waiting.unhandled() == ["a", "a", "a", "b"]


def test_what_comes_back_from_a_waiter_takes_its_old_place() -> None:
    waiting = make_waiting()
    got = KeptWaiter()
    waiting.keep(frame("a", b"0"))
    waiting.add(("b", None), got)
    assert waiting.offer(frame("b", b"1"))
    waiting.keep(frame("b", b"2"))
    waiting.keep(got.frames[0])
    assert [kept.message for kept in waiting.take_all()] == [b"0", b"1", b"2"]


def test_what_comes_back_from_a_waiter_is_for_the_next_one() -> None:
    waiting = make_waiting()
    gave_up, there = KeptWaiter(), KeptWaiter()
    waiting.add(("a", None), gave_up)
    waiting.add(("a", None), there)
    assert waiting.offer(frame("a", b"1"))
    assert waiting.offer(gave_up.frames[0])
    assert there.frames == gave_up.frames


def test_it_tells_once_of_commands_that_nobody_took() -> None:
    clock = Clock()
    waiting = make_waiting(clock)
    waiting.keep(frame("vain"))
    waiting.keep(frame("seen"), observed=True)
    waiting.keep(frame(None, b"raw"))
    assert waiting.unhandled() == []
    clock.now += 1.1
    assert waiting.unhandled() == ["vain"]
    assert waiting.unhandled() == []


def test_closing_tells_who_waits_and_who_comes_to_wait() -> None:
    clock = Clock()
    waiting = make_waiting(clock)
    first, late, served = KeptWaiter(), KeptWaiter(), KeptWaiter()
    waiting.add(("a", None), first)
    waiting.keep(frame("b", b"1"))
    end = ConnectionError("over")
    waiting.close(end)
    clock.now += 60
    waiting.add(("c", None), late)
    waiting.add(("b", None), served)
    assert [str(told) for told in first.failures] == ["over"]
    assert [str(told) for told in late.failures] == ["over"]
    assert served.messages == [b"1"], "what came before the end is still there"
    assert waiting.unhandled() == []
    waiting.reopen()
    again = KeptWaiter()
    waiting.add(("a", None), again)
    assert waiting.offer(frame("a", b"2"))
    assert again.failures == []


def test_the_end_of_a_client_tells_who_waits_for_it() -> None:
    waiting = make_waiting()
    gone = ConnectionError("gone")
    waiting.close_source("ada", gone)
    ada, another, anybody = KeptWaiter(), KeptWaiter(), KeptWaiter()
    waiting.add(("a", "ada"), ada)
    waiting.add(("a", "ada"), another)
    waiting.add(("a", None), anybody)
    waiting.close_source("ada", gone)
    assert (repr(ada.failures), anybody.failures) == (repr([gone]), [])
    assert repr(another.failures) == repr([gone])
    assert another.failures[0] is not ada.failures[0], "each raises its own"
    assert not waiting.wants("b", "ada")


@pytest.mark.parametrize("command", ["a", None])
def test_nobody_wants_anything_at_first(command: str | None) -> None:
    waiting = make_waiting()
    assert not waiting.wants(command, None)
    assert not waiting.offer(frame(command))


class Sender:
    """Stands for a task."""


@given(st.lists(st.tuples(st.sampled_from(["arrives", "sends", "waits"]), st.integers(0, 2))))
def test_who_waits_gets_what_came_since_its_own_latest_send(steps: list[tuple[str, int]]) -> None:
    """Or since the latest send of any, if it has sent nothing itself."""
    waiting, senders = make_waiting(), [Sender() for _ in range(3)]
    kept: list[int] = []
    sent: dict[int, int] = {}
    arrived = latest = 0
    for step, who in steps:
        if step == "arrives":
            arrived += 1
            kept.append(arrived)
            waiting.keep(frame("a", b"%d" % arrived))
        elif step == "sends":
            latest = sent[who] = arrived
            assert waiting.sent(senders[who]) == arrived
        else:
            expected = next((n for n in kept if n > sent.get(who, latest)), None)
            waiter = KeptWaiter()
            waiting.add(("a", None), waiter, senders[who])
            waiting.remove(("a", None), waiter)
            assert waiter.messages == ([] if expected is None else [b"%d" % expected])
            if expected is not None:
                kept.remove(expected)
