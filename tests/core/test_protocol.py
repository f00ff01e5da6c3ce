"""Reserved frames: what is built is read again, and what is not valid says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hisock._core import protocol
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
    nobody = protocol.parse_client_answer(payload_of(protocol.build_no_such_client(16)))
    assert nobody is not None
    assert (nobody.client, nobody.traceback) == (None, protocol.NO_SUCH_CLIENT)
    found = protocol.parse_client_answer(protocol.encode_client(("127.0.0.1", 5), "Ada", None))
    assert found is not None
    assert found.client == protocol.WireClient(("127.0.0.1", 5), "Ada", None)
    for other in (b"", b"text", b"{}", b'{"name": "Ada"}', b"[" * 5000, b"\xff"):
        assert protocol.parse_client_answer(other) is None


@pytest.mark.parametrize("message", [None, b"", b"1", b"$MSG$ $CMD$"])
def test_a_call_and_its_reply(message: bytes | None) -> None:
    call = protocol.Call(7, "add $ up", message)
    assert protocol.parse_call(data_of(protocol.build_call(call, 16), protocol.CALL)) == call
    reply = protocol.Reply(7, message)
    assert protocol.parse_reply(data_of(protocol.build_reply(reply, 16), protocol.REPLY)) == reply


def test_a_reply_that_is_an_error() -> None:
    reply = protocol.Reply(7, None, "no luck ¡ay!")
    assert protocol.parse_reply(data_of(protocol.build_reply(reply, 16), protocol.REPLY)) == reply
    odd = protocol.build_reply(protocol.Reply(7, None, "\ud800"), 16)
    assert protocol.parse_reply(data_of(odd, protocol.REPLY)).error == r"\ud800"


def test_a_command_has_to_be_one_in_a_call_too() -> None:
    with pytest.raises(ValueError, match="command"):
        protocol.build_call(protocol.Call(1, "", None), 16)


@pytest.mark.parametrize(
    ("parse", "data"),
    [
        (protocol.parse_call, b""),
        (protocol.parse_call, b"7"),
        (protocol.parse_call, b"x$CMD$a"),
        (protocol.parse_call, b"$CMD$a"),
        (protocol.parse_call, b"7$CMD$"),
        (protocol.parse_call, b"7$CMD$$x$"),
        (protocol.parse_call, b"7$CMD$\xff"),
        (protocol.parse_call, b"1" * 21 + b"$CMD$a"),
        (protocol.parse_reply, b""),
        (protocol.parse_reply, b"x"),
        (protocol.parse_reply, b"-7"),
        (protocol.parse_reply, b"7$ODD$"),
        (protocol.parse_reply, b"1" * 21),
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


def test_a_new_name() -> None:
    assert protocol.parse_text(protocol.CHANGE_NAME, "¡Ada!".encode()) == "¡Ada!"


def test_a_frame_out_of_place() -> None:
    assert "a server is never sent $KEEPALIVE$" in str(
        protocol.unexpected(protocol.KEEPALIVE, "server")
    )
