"""The ways between the bytes of a message and a handler, in both implementations."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hisock import _messages_py, _outbox_py
from hisock._core import call_frames
from hisock.framing import build_raw

PAIRS: list[tuple[Any, Any]] = [(_messages_py, _outbox_py)]
#: Where calls and replies are queued, by the module of outboxes: the compiled one does it itself.
SENDING: dict[Any, Any] = {_outbox_py: _messages_py}
if os.environ.get("HISOCK_PURE_PYTHON", "") in ("", "0"):
    PAIRS.append((import_module("hisock._messages"), import_module("hisock._outbox")))


@pytest.fixture(params=PAIRS, ids=lambda pair: pair[0].__name__.removeprefix("hisock._"))
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """One implementation: its module of messages, and that of outboxes."""
    chosen: tuple[Any, Any] = request.param
    return chosen


def sending(pair: tuple[Any, Any]) -> Any:
    return SENDING.get(pair[1], pair[1])


def coded(core: Any, encoded: bytes, nulls: bool) -> object:
    """What an encoder makes of a float that its codec encodes so."""
    encode = core.encoder(lambda _: encoded, {float}, repr, lambda *args: args, nulls)
    return encode(1.5)


@given(st.binary(max_size=12) | st.lists(st.sampled_from([b"n", b"nul", b"null", b"x"])))
def test_bytes_are_settled_that_are_few_or_hold_null(encoded: bytes | list[bytes]) -> None:
    if isinstance(encoded, list):
        encoded = b"".join(encoded)
    for core, _ in PAIRS:
        for nulls in (True, False):
            doubtful = len(encoded) <= 5 or (nulls and b"null" in encoded)
            assert coded(core, encoded, nulls) == ((1.5, encoded) if doubtful else encoded)


def test_an_encoder_leaves_to_others_what_it_does_not_know(pair: tuple[Any, Any]) -> None:
    def write(value: object) -> bytes:
        raise TypeError(value)

    encode = pair[0].encoder(write, {float}, lambda value: ("other", value), None, True)
    assert encode("täxt") == encode("täxt".encode()) == "täxt".encode()
    assert [encode(value) for value in ("\ud800", 1.5, 7, None)] == [
        ("other", value) for value in ("\ud800", 1.5, 7, None)
    ]


def test_a_handler_gets_the_value_or_what_recovers_it(pair: tuple[Any, Any]) -> None:
    def recover(message: bytes, exc: Exception) -> str:
        if message == b"no":
            raise LookupError from exc
        return f"{message!r}: {type(exc).__name__}"

    two = pair[0].handler_of_two(lambda *args: args, int, recover)
    one = pair[0].handler_of_one(lambda *args: args, int, recover)
    assert (two("Ada", b"12"), one(b"12")) == (("Ada", 12), (12,))
    assert two("Ada", b"x") == ("Ada", "b'x': ValueError")
    assert one(b"x") == ("b'x': ValueError",)
    for call, args in ((two, ("Ada", b"no")), (one, (b"no",))):
        with pytest.raises(LookupError) as caught:
            call(*args)
        assert isinstance(caught.value.__cause__, ValueError)


def test_what_a_handler_raises_is_not_taken_for_its_message(pair: tuple[Any, Any]) -> None:
    def fail(*args: object) -> None:
        raise ValueError("mine")

    two = pair[0].handler_of_two(fail, int, pytest.fail)
    one = pair[0].handler_of_one(fail, int, pytest.fail)
    for call, args in ((two, ("Ada", b"1")), (one, (b"1",))):
        with pytest.raises(ValueError, match="mine"):
            call(*args)


PIECES = st.sampled_from(
    [b"$CALL$", b"$CMD$", b"$MSG$", b"$TRC$", b"$", b"1", b"0", b"\n", b"add", b"9" * 17, b"\xff"]
)


@given(st.lists(PIECES, max_size=7), st.booleans())
def test_calls_are_split_alike(pieces: list[bytes], begins: bool) -> None:
    payload = b"$CALL$" * begins + b"".join(pieces)
    split = {core.__name__: core.split_call(payload) for core, _ in PAIRS}
    assert len(set(split.values())) == 1
    found = split["hisock._messages_py"]
    if found is not None:
        assert b"$CALL$%b$CMD$%b$MSG$%b" % found == payload


def test_a_call_is_split_at_the_first_separators(pair: tuple[Any, Any]) -> None:
    split = pair[0].split_call
    assert split(b"$CALL$12$CMD$add$MSG$a$MSG$b") == (b"12", b"add", b"a$MSG$b")
    assert split(b"$CALL$%b$CMD$add$MSG$\n" % (b"9" * 18)) == (b"9" * 18, b"add", b"\n")
    for other in (
        b"$CALL$012$CMD$add$MSG$a",
        b"$CALL$%b$CMD$add$MSG$a" % (b"9" * 19),
        b"$CALL$12$CMD$add$MSG$",
        b"$CALL$12$CMD$add",
        b"$CALL$$CMD$add$MSG$a",
        b"$REPLY$12$CMD$add$MSG$a",
        b"$CALL$",
        b"",
    ):
        assert split(other) is None


REPLY_PIECES = PIECES | st.sampled_from([b"$REPLY$", b"$ERR$", b"00", b"7" * 18])


@given(st.lists(REPLY_PIECES, max_size=5), st.booleans())
def test_replies_are_split_alike_and_as_they_are_parsed(pieces: list[bytes], begins: bool) -> None:
    payload = b"$REPLY$" * begins + b"".join(pieces)
    split = {core.__name__: core.split_reply(payload) for core, _ in PAIRS}
    assert len(set(split.values())) == 1
    found = split["hisock._messages_py"]
    if found is not None:
        assert call_frames.parse_reply(payload[len(b"$REPLY$") :]) == call_frames.Reply(*found)


def test_what_is_left_of_replies_to_parse(pair: tuple[Any, Any]) -> None:
    split = pair[0].split_reply
    assert split(b"$REPLY$12$MSG$a$MSG$b") == (12, b"a$MSG$b")
    assert split(b"$REPLY$%b$MSG$" % (b"9" * 18)) == (10**18 - 1, b"")
    for other in (
        b"$REPLY$%b$MSG$a" % (b"9" * 19),
        b"$REPLY$12",
        b"$REPLY$12$MSG",
        b"$REPLY$12$ERR$$MSG$",
        b"$REPLY$$MSG$a",
        b"$CALL$12$MSG$a",
        b"$REPLY$",
        b"",
    ):
        assert split(other) is None


@pytest.mark.parametrize("size", [None, 0, 1, 32767, 32768, 100_000])
@pytest.mark.parametrize("number", [0, 1, 99, 10**18, 2**63 - 1])
def test_a_call_is_queued_as_its_frame(
    pair: tuple[Any, Any], size: int | None, number: int
) -> None:
    queue: list[str] = []
    outbox = pair[1].Outbox(queue, "owner", lambda: None)
    message = None if size is None else b"m" * size
    assert sending(pair).send_call(outbox, number, "ädd", message)
    assert sending(pair).send_call(outbox, 1, "next", None)
    call = call_frames.build_call(call_frames.Call(number, "ädd", message), 16)
    assert b"".join(outbox.take()) == call + build_raw(b"$CALL$1$CMD$next")
    assert (queue, outbox.taken_frames) == (["owner"], 2)


def test_a_call_that_cannot_be_sent_is_refused(pair: tuple[Any, Any]) -> None:
    outbox = pair[1].Outbox([], None, lambda: None, 2)
    for command, message, error in (
        ("$a$", None, ValueError),
        ("", None, ValueError),
        (b"a", None, TypeError),
        ("a", "text", TypeError),
        ("a", b"m" * 99, ValueError),
    ):
        with pytest.raises(error):
            sending(pair).send_call(outbox, 1, command, message)
    for number in (-1, -(2**63), 2**63):
        with pytest.raises(OverflowError):
            sending(pair).send_call(outbox, number, "a", None)
    assert not outbox.size
    outbox.refusing = True
    assert not sending(pair).send_call(outbox, 1, "a", None)
    outbox.refusing = False
    outbox.close()
    assert not sending(pair).send_call(outbox, 1, "a", None)
    assert (outbox.refused, outbox.size) == (0, 0)


@pytest.mark.parametrize("size", [0, 1, 32767, 32768, 100_000])
def test_a_reply_is_queued_as_its_frame(pair: tuple[Any, Any], size: int) -> None:
    queue: list[str] = []
    outbox = pair[1].Outbox(queue, "owner", lambda: None)
    message = b"m" * size
    assert sending(pair).send_reply(outbox, b"12", message)
    assert b"".join(outbox.take()) == build_raw(b"$REPLY$12$MSG$" + message)
    assert (queue, outbox.taken_frames) == (["owner"], 1)


def test_an_outbox_that_takes_nothing_counts_no_reply(pair: tuple[Any, Any]) -> None:
    outbox = pair[1].Outbox([], None, lambda: None, 1)
    with pytest.raises(ValueError, match="header"):
        sending(pair).send_reply(outbox, b"12", b"m")
    outbox = pair[1].Outbox([], None, lambda: None)
    outbox.refusing = True
    assert not sending(pair).send_reply(outbox, b"12", b"m")
    outbox.refusing = False
    outbox.close()
    assert not sending(pair).send_reply(outbox, b"12", b"m")
    assert (outbox.refused, outbox.size) == (0, 0)
