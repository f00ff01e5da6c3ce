"""The reserved frames that a client sends, and the server's answers to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hisock._core import protocol
from hisock._core.calls import build_answer
from hisock._core.client_info import ClientInfo
from hisock.exceptions import ProtocolError
from hisock.framing import build_raw

if TYPE_CHECKING:
    from hisock._server.connection import Connection


def take_hello(connection: Connection, command: str | None, payload: bytes | None) -> bool:
    """Take the first frame of a client; returns whether it is a hello."""
    try:
        if command is not None:
            # Not which: it may be the rest of a hello, with a token in it.
            raise ProtocolError("a command came before the hello")
        hello = protocol.parse_hello(payload or b"")
    except ProtocolError as exc:
        connection.fail("hello", exc)
        return False
    connection.original = (hello.name, hello.group)
    connection.features = hello.features
    connection.resume = hello.resume
    connection.info = ClientInfo(connection.info.addr, hello.name, hello.group)
    connection.hub.door.welcome(connection, hello)
    return True


def take_reserved(connection: Connection, name: bytes, data: bytes) -> None:
    """Do what a reserved frame asks.

    :raises ProtocolError: clients do not send that, or not in this form.
    """
    hub = connection.hub
    if name == protocol.KEEPALIVE_ACK:
        connection.writer.confirmed()
        return
    if name == protocol.LEAVE:
        hub.leave(connection, "left", "it said goodbye", goodbye=True)
    elif name == protocol.GET_CLIENT:
        _answer_get_client(connection, protocol.parse_question(data))
    elif name == protocol.CHANGE_NAME:
        new = protocol.parse_text(name, data) or connection.original[0]
        hub.renaming.change_name(connection, new)
    elif name == protocol.CHANGE_GROUP:
        new = protocol.parse_text(name, data) or connection.original[1]
        hub.renaming.change_group(connection, new)
    elif name == protocol.CALL and connection.knows("call"):
        _answer_call(connection, protocol.parse_call(data))
    elif name == protocol.REPLY and connection.knows("call"):
        connection.calls.take_reply(protocol.parse_reply(data))
    else:
        raise protocol.unexpected(name, "server")


def _answer_get_client(connection: Connection, who: str | None) -> None:
    hub = connection.hub
    found = None if who is None else hub.lookup(who)
    if found is None:
        connection.writer.write_control(protocol.build_no_such_client(hub.header_len))
    else:
        connection.writer.write_control(build_raw(found, hub.header_len))


def _answer_call(connection: Connection, call: protocol.Call) -> None:
    hub = connection.hub

    def done(result: Any, exc: BaseException | None) -> None:
        frame = build_answer(call, result, exc, hub.events, connection.info, hub.header_len)
        connection.writer.write_control(frame)

    hub.events.call(connection, call.command, call.message, done)
