"""Reserved frames: what is built is read again, and what is not valid says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hisock._core import acks, call_frames, client_answers, protocol
from hisock.exceptions import ProtocolError


def payload_of(frame: bytes) -> bytes:
    """What a frame with a header of 16 digits holds."""
    assert int(frame[:16]) == len(frame) - 16
    return frame[16:]


def data_of(frame: bytes, name: bytes) -> bytes:
    split = protocol.split_reserved(payload_of(frame))
    assert split is not None
    assert split[0] == name
    return split[1]


@pytest.mark.parametrize("payload", [b"", b"text", b"$", b"$NOTOURS$x", b"$" + b"A" * 99, b"$CALL"])
def test_what_is_not_reserved_is_raw(payload: bytes) -> None:
    assert protocol.split_reserved(payload) is None


def test_a_reserved_frame_is_a_name_and_its_data() -> None:
    assert protocol.split_reserved(b"$GETCLT$Ada$") == (protocol.GET_CLIENT, b"Ada$")
    assert protocol.split_reserved(b"$KEEPALIVE$") == (protocol.KEEPALIVE, b"")
    with pytest.raises(ProtocolError, match="takes no data, 1 bytes follow"):
        protocol.split_reserved(b"$KEEPALIVE$x")


def test_names_are_bounded() -> None:
    assert protocol.encode_name(None) == protocol.encode_name("") == b""
    assert protocol.encode_name("Ada") == b"Ada"
    with pytest.raises(ValueError, match="at most 1024"):
        protocol.encode_name("x" * 1025)
    with pytest.raises(ValueError, match="at most 1024"):
        protocol.build_hello("x" * 1025, None, 16)


@pytest.mark.parametrize("optional", [{}, {"codec": "msgpack", "token": "t", "resume": "r"}])
def test_a_hello_holds_what_differs_from_the_usual(optional: dict[str, str]) -> None:
    hello = data_of(protocol.build_hello("Ada", None, 16, **optional), protocol.HELLO)
    said = json.loads(hello)
    assert said == {"name": "Ada", "group": None, "features": protocol.FEATURES, **optional}


def test_a_servers_hello() -> None:
    data = data_of(protocol.build_server_hello("msgpack", 16), protocol.SERVER_HELLO)
    hello = protocol.parse_server_hello(data)
    assert hello.codec == "msgpack"
    assert hello.features == protocol.FEATURES


@pytest.mark.parametrize(
    ("said", "interval"),
    [(30, 30.0), (0.5, 0.5), (0, None), (-1, None), (True, None), ("30", None), (1e300, None)],
)
def test_a_servers_hello_says_how_often_it_asks(said: Any, interval: float | None) -> None:
    data = json.dumps({"features": [], "keepalive": said}).encode()
    assert protocol.parse_server_hello(data).keepalive_interval == interval


def test_a_server_that_asks_says_so() -> None:
    data = data_of(protocol.build_server_hello("json", 16, 30.0), protocol.SERVER_HELLO)
    assert protocol.parse_server_hello(data).keepalive_interval == 30.0
    data = data_of(protocol.build_server_hello("json", 16), protocol.SERVER_HELLO)
    assert protocol.parse_server_hello(data).keepalive_interval is None


def test_client_info() -> None:
    data = protocol.encode_client(("127.0.0.1", 5), "Ada", None)
    assert json.loads(data) == {"ip": ["127.0.0.1", 5], "name": "Ada", "group": None}
    assert protocol.parse_client(data) == protocol.WireClient(("127.0.0.1", 5), "Ada", None)


def test_questions() -> None:
    assert protocol.parse_question(b"Ada") == "Ada"
    assert protocol.parse_question("¡".encode() * 1024) == "¡" * 1024
    assert protocol.parse_question(b"x" * 1025) is None
    assert protocol.parse_question(b"\xff" * 5000) is None


def test_answers_to_questions() -> None:
    nobody = client_answers.parse_client_answer(payload_of(client_answers.build_no_such_client(16)))
    assert nobody is not None
    assert (nobody.client, nobody.traceback) == (None, client_answers.NO_SUCH_CLIENT)
    found = client_answers.parse_client_answer(
        protocol.encode_client(("127.0.0.1", 5), "Ada", None)
    )
    assert found is not None
    assert found.client == protocol.WireClient(("127.0.0.1", 5), "Ada", None)
    for other in (b"", b"text", b"{}", b'{"name": "Ada"}', b"[" * 5000, b"\xff"):
        assert client_answers.parse_client_answer(other) is None


def reread(reply: call_frames.Reply) -> call_frames.Reply:
    frame = call_frames.build_reply(reply, 16)
    return call_frames.parse_reply(data_of(frame, protocol.REPLY))


@pytest.mark.parametrize("message", [None, b"", b"1", b"$MSG$ $CMD$"])
def test_a_call_and_its_reply(message: bytes | None) -> None:
    call = call_frames.Call(7, "add $ up", message)
    frame = call_frames.build_call(call, 16)
    assert call_frames.parse_call(data_of(frame, protocol.CALL)) == call
    reply = call_frames.Reply(7, message)
    assert (
        call_frames.parse_reply(data_of(call_frames.build_reply(reply, 16), protocol.REPLY))
        == reply
    )


def test_a_reply_that_is_an_error() -> None:
    reply = call_frames.Reply(7, None, "no luck ¡ay!")
    assert (
        call_frames.parse_reply(data_of(call_frames.build_reply(reply, 16), protocol.REPLY))
        == reply
    )
    odd = call_frames.build_reply(call_frames.Reply(7, None, "\ud800"), 16)
    assert call_frames.parse_reply(data_of(odd, protocol.REPLY)).error == r"\ud800"


@pytest.mark.parametrize("code", [None, "sold_out", 404, "$MSG$"])
@pytest.mark.parametrize("data", [None, b"", b"[1]", b"$MSG$$EXC$"])
def test_a_reply_that_is_an_error_with_code_and_data(
    code: str | int | None, data: bytes | None
) -> None:
    reply = call_frames.Reply(7, None, "no luck $MSG$ \\ ¡ay!", code, data)
    assert reread(reply) == reply


def test_a_cancelled_call() -> None:
    frame = call_frames.build_cancel(7, 16)
    assert call_frames.parse_cancel(data_of(frame, protocol.CANCEL)) == 7


def test_a_command_has_to_be_one_in_a_call_too() -> None:
    with pytest.raises(ValueError, match="command"):
        call_frames.build_call(call_frames.Call(1, "", None), 16)


@pytest.mark.parametrize(
    ("parse", "data"),
    [
        (call_frames.parse_call, b""),
        (call_frames.parse_call, b"7"),
        (call_frames.parse_call, b"x$CMD$a"),
        (call_frames.parse_call, b"$CMD$a"),
        (call_frames.parse_call, b"7$CMD$"),
        (call_frames.parse_call, b"7$CMD$$x$"),
        (call_frames.parse_call, b"7$CMD$\xff"),
        (call_frames.parse_call, b"1" * 21 + b"$CMD$a"),
        (call_frames.parse_reply, b""),
        (call_frames.parse_reply, b"x"),
        (call_frames.parse_reply, b"-7"),
        (call_frames.parse_reply, b"7$ODD$"),
        (call_frames.parse_reply, b"7$EXC$"),
        (call_frames.parse_reply, b'7$EXC${"code": 1}'),
        (call_frames.parse_reply, b'7$EXC${"message": "x", "code": [1]}'),
        (call_frames.parse_reply, b"7$EXC$" + b"[" * 5000),
        (call_frames.parse_cancel, b""),
        (call_frames.parse_cancel, b"x"),
        (call_frames.parse_reply, b"1" * 21),
        (protocol.parse_client, b"{}"),
        (protocol.parse_client, b"\xff"),
        (protocol.parse_client, b"[" * 5000),
        (protocol.parse_server_hello, b"{}"),
        (protocol.parse_question, b"\xff"),
        (lambda data: protocol.parse_text(protocol.CHANGE_NAME, data), b"\xff"),
        (lambda data: protocol.parse_text(protocol.CHANGE_NAME, data), b"x" * 1025),
    ],
)
def test_what_is_not_valid_says_so(parse: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(data)


@pytest.mark.parametrize(
    ("parse", "start"),
    [(call_frames.parse_call, b"7$CMD$"), (acks.parse_sent, b"7$CMD$")],
)
@pytest.mark.parametrize("end", [b"$x$", b"$MSG", b"\xff"])
def test_an_error_repeats_little_of_a_long_command(
    parse: Callable[[bytes], Any], start: bytes, end: bytes
) -> None:
    with pytest.raises(ProtocolError, match="is not valid") as raised:
        parse(start + "\N{SNOWMAN}".encode() * 100_000 + end)
    assert len(str(raised.value)) < 300


def test_a_name_that_is_too_long_is_not_even_decoded() -> None:
    with pytest.raises(ProtocolError, match="at most 1024 characters, not 1000001 bytes"):
        protocol.parse_text(protocol.CHANGE_NAME, b"x" * 1_000_000 + b"\xff")


def test_a_new_name() -> None:
    assert protocol.parse_text(protocol.CHANGE_NAME, "¡Ada!".encode()) == "¡Ada!"


def test_a_frame_out_of_place() -> None:
    assert "a server is never sent $KEEPALIVE$" in str(
        protocol.unexpected(protocol.KEEPALIVE, "server")
    )
