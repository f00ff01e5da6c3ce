"""Messages that are confirmed, without connections: what is kept, and what was handled already."""

from __future__ import annotations

import random
from contextlib import nullcontext

import pytest

from hisock._core import acks, protocol
from hisock._core.acks import Progress, Remembered, Sent, Unconfirmed
from hisock.exceptions import ProtocolError


def _data(frame: bytes, name: bytes) -> bytes:
    assert frame[16:].startswith(name)
    return frame[16 + len(name) :]


@pytest.mark.parametrize(
    "sent", [Sent(1, "move", b"3"), Sent(10**19, "ü b", None), Sent(7, "x", b"$MSG$$CMD$")]
)
def test_a_message_is_read_as_it_was_built(sent: Sent) -> None:
    assert acks.parse_sent(_data(acks.build_sent(sent, 16), protocol.SEND)) == sent


def test_a_confirmation_is_read_as_it_was_built() -> None:
    frame = acks.build_acknowledgement(12, 16)
    assert acks.parse_acknowledgement(_data(frame, protocol.ACKNOWLEDGE)) == 12


@pytest.mark.parametrize(
    "data", [b"", b"x$CMD$a", b"1", b"1$CMD$", b"1$CMD$a$b$", b"-1$CMD$a", b"1$CMD$\xff"]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        acks.parse_sent(data)


@pytest.mark.parametrize("data", [b"", b"-1", b"1x", b"1" * 21])
def test_what_is_no_confirmation_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        acks.parse_acknowledgement(data)


def test_messages_are_kept_in_order_until_they_are_confirmed() -> None:
    kept = Unconfirmed(1000, nullcontext())
    for number in range(3):
        kept.add("say", b"%d" % number, 16)
    assert [kept.after(number) for number in range(4)] == [
        (1, acks.build_sent(Sent(1, "say", b"0"), 16)),
        (2, acks.build_sent(Sent(2, "say", b"1"), 16)),
        (3, acks.build_sent(Sent(3, "say", b"2"), 16)),
        None,
    ]
    kept.confirm(2)
    assert len(kept) == 1
    assert kept.after(0) == kept.after(2)
    kept.confirm(1)  # an old one, which came late
    assert len(kept) == 1
    with pytest.raises(ProtocolError):
        kept.confirm(4)


def test_what_is_kept_is_bounded_in_bytes() -> None:
    size = len(acks.build_sent(Sent(1, "say", b"0"), 16))
    kept = Unconfirmed(2 * size, nullcontext())
    kept.add("say", b"0", 16)
    kept.add("say", b"1", 16)
    with pytest.raises(BufferError):
        kept.add("say", b"2", 16)
    kept.confirm(1)
    kept.add("say", b"3", 16)
    following = kept.after(2)
    assert following is not None
    assert following[0] == 3  # the one that was refused took no number


def test_each_message_is_begun_once() -> None:
    progress = Progress()
    first_time = [progress.begin(number) for number in (1, 2, 1, 2, 3)]
    assert first_time == [True, True, False, False, True]
    with pytest.raises(ProtocolError):
        progress.begin(5)


def test_a_server_that_knows_nothing_begins_where_the_client_is() -> None:
    progress = Progress()
    assert progress.begin(40)
    assert progress.done == 39
    progress.end(40)
    assert progress.done == 40


def test_only_what_ended_without_a_gap_is_done() -> None:
    numbers = list(range(1, 50))
    progress = Progress()
    for number in numbers:
        assert progress.begin(number)
    random.Random(7).shuffle(numbers)
    ended: set[int] = set()
    for number in numbers:
        progress.end(number)
        ended.add(number)
        assert progress.done == next(n for n in range(60) if n + 1 not in ended)
        assert progress.idle is (len(ended) == 49)


def test_clients_are_forgotten_by_number_and_by_time() -> None:
    remembered = Remembered(most=3, seconds=10)
    first = remembered.of("a", 0)
    for secret in "bca":
        remembered.of(secret, 1)
    remembered.of("d", 2)
    assert len(remembered) == 3
    assert remembered.of("a", 3) is first  # used after b, which was forgotten
    remembered.of("e", 12.5)
    assert len(remembered) == 2  # a and e; c and d were silent for too long
    assert remembered.of("a", 12.6) is first


def test_observers_hear_once_unless_they_were_dropped() -> None:
    progress = acks.Progress()
    for number in (1, 2, 3):
        assert progress.begin(number)
        assert progress.observe(number)
    progress.drop(2)
    progress.drop(3)
    progress.miss(3)
    progress.end(1)
    progress.miss(1)
    assert progress.begin(2)
    assert not progress.observe(2)
    progress.end(2)
    assert progress.begin(3)
    assert progress.observe(3)


def test_what_was_dropped_is_handled_when_it_comes_again() -> None:
    progress = Progress()
    for number in range(1, 6):
        assert progress.begin(number)
    progress.end(1)
    progress.drop(4)
    progress.drop(3)
    assert not progress.idle  # 2 and 5 are being handled
    progress.end(5)
    progress.end(2)
    assert (progress.done, progress.idle) == (2, True)
    assert [progress.begin(number) for number in range(1, 7)] == [
        *(False, False, True, True, False),
        True,
    ]
    assert not progress.begin(3), "it is being handled"
    progress.end(4)
    progress.end(6)
    assert (progress.done, progress.idle) == (2, False)
    progress.end(3)
    assert (progress.done, progress.idle) == (6, True)


def test_what_is_remembered_behind_one_that_is_not_handled_is_bounded() -> None:
    progress = Progress()
    for number in range(1, acks.MOST_AHEAD + 1):
        progress.begin(number)
        if number > 1:
            progress.end(number)
    with pytest.raises(ProtocolError, match="while 1 is not handled yet"):
        progress.begin(acks.MOST_AHEAD + 1)
    progress.end(1)
    assert progress.done == acks.MOST_AHEAD
    assert progress.begin(acks.MOST_AHEAD + 1)


def test_no_more_is_kept_than_a_server_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acks, "MOST_AHEAD", 2)
    kept = Unconfirmed(1_000_000, nullcontext())
    kept.add("say", b"0", 16)
    kept.add("say", b"1", 16)
    with pytest.raises(BufferError, match="2 messages are not confirmed"):
        kept.add("say", b"2", 16)
    kept.confirm(1)
    kept.add("say", b"2", 16)
