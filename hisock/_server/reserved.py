"""The reserved frames that a client sends, and the server's answers to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisock._core import call_frames, client_answers, protocol
from hisock._core.acks import parse_sent
from hisock._core.client_info import ClientInfo
from hisock._server.answering import answer
from hisock.exceptions import ProtocolError
from hisock.framing import build_raw

if TYPE_CHECKING:
    from hisock._server.connection import Connection

#: Frames of which only some are handled in one iteration of the loop.
_COSTLY = frozenset(
    {
        protocol.CALL,
        protocol.STREAM,
        protocol.SEND,
        protocol.CHANGE_NAME,
        protocol.CHANGE_GROUP,
    }
)


def take_hello(connection: Connection, command: str | None, payload: bytes | None) -> bool:
    """Take the first frame of a client; returns whether it is a hello."""
    try:
        if command is not None:
            # The command is not named: it may be the rest of a hello, with a token in it.
            raise ProtocolError("a command came before the hello")
        hello = protocol.parse_hello(payload or b"")
    except ProtocolError as exc:
        connection.fail("hello", exc)
        return False
    connection.original = (hello.name, hello.group)
    connection.features = hello.features
    connection.resume = hello.resume
    connection.info = ClientInfo(connection.info.addr, hello.name, hello.group)
    connection.hub.admission.hello_received(connection, hello)
    return True


def take_raw(connection: Connection, payload: bytes) -> None:
    """Take a frame without a command."""
    try:
        reserved = protocol.split_reserved(payload)
        if reserved is None:
            connection.hub.events.handle(connection, None, payload)
        else:
            take_reserved(connection, *reserved)
    except ProtocolError as exc:
        connection.fail("protocol", exc)


def take_reserved(connection: Connection, name: bytes, data: bytes) -> None:
    """Handle a reserved frame.

    :raises ProtocolError: it is not a frame that clients send, or it is malformed.
    """
    hub = connection.hub
    if name == protocol.KEEPALIVE_ACK:
        connection.writer.keepalive_answered()
        return
    if name in _COSTLY:
        hub.runner.turns.count(connection)
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
        answer(connection, call_frames.parse_call(data), streams=False)
    elif name == protocol.STREAM and connection.knows("stream"):
        answer(connection, call_frames.parse_call(data), streams=True)
    elif name == protocol.MORE and connection.knows("stream"):
        connection.answering.more(call_frames.parse_more(data))
    elif name == protocol.SEND and connection.knows("ack"):
        hub.receipts.take(connection, parse_sent(data))
    elif name == protocol.REPLY and connection.knows("call"):
        connection.calls.take_reply(call_frames.parse_reply(data))
    elif name == protocol.CANCEL and connection.knows("cancel"):
        connection.answering.cancel(call_frames.parse_cancel(data))
    else:
        raise protocol.unexpected(name, "server")


def _answer_get_client(connection: Connection, who: str | None) -> None:
    hub = connection.hub
    found = None if who is None else hub.lookup(who)
    if found is None:
        connection.writer.write_control(client_answers.build_no_such_client(hub.header_len))
    else:
        connection.writer.write_control(build_raw(found, hub.header_len))
