"""The reserved frames that a client sends, and the server's answers to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hisock._core import call_frames, client_answers, protocol
from hisock._core.acks import parse_sent
from hisock._server.answering import answer
from hisock.exceptions import ProtocolError
from hisock.framing import build_raw, split_reply

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
    if hello.name is not None or hello.group is not None:
        connection.original = (hello.name, hello.group)
    connection.features = hello.features
    connection.resume = hello.resume
    connection.info = connection.info._called(hello.name, hello.group)
    connection.hub.admission.hello_received(connection, hello)
    return True


def take_raw(connection: Connection, payload: bytes) -> None:
    """Take a frame without a command."""
    reply = split_reply(payload)
    if reply is not None and connection.knows("call"):
        connection.calls.take_message(*reply)
        return
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
    if name == protocol.KEEPALIVE_ACK:
        connection.writer.keepalive_answered()
        return
    if name in _COSTLY:
        connection.hub.runner.turns.count(connection)
    taken = _TAKEN.get(name)
    if taken is None:
        raise protocol.unexpected(name, "server")
    feature, take = taken
    if feature is not None and not connection.knows(feature):
        raise protocol.unexpected(name, "server")
    take(connection, data)


def _leave(connection: Connection, _data: bytes) -> None:
    connection.hub.leave(connection, "left", "it said goodbye", goodbye=True)


def _change_name(connection: Connection, data: bytes) -> None:
    new = protocol.parse_text(protocol.CHANGE_NAME, data) or connection.original[0]
    connection.hub.renaming.change_name(connection, new)


def _change_group(connection: Connection, data: bytes) -> None:
    new = protocol.parse_text(protocol.CHANGE_GROUP, data) or connection.original[1]
    connection.hub.renaming.change_group(connection, new)


def _call(connection: Connection, data: bytes) -> None:
    answer(connection, call_frames.parse_call(data), streams=False)


def _stream(connection: Connection, data: bytes) -> None:
    answer(connection, call_frames.parse_call(data), streams=True)


def _more(connection: Connection, data: bytes) -> None:
    connection.answering.more(call_frames.parse_more(data))


def _send(connection: Connection, data: bytes) -> None:
    connection.hub.receipts.take(connection, parse_sent(data))


def _reply(connection: Connection, data: bytes) -> None:
    connection.calls.take_reply(call_frames.parse_reply(data))


def _cancel(connection: Connection, data: bytes) -> None:
    connection.answering.cancel(call_frames.parse_cancel(data))


def _get_client(connection: Connection, data: bytes) -> None:
    hub = connection.hub
    who = protocol.parse_question(data)
    found = None if who is None else hub.lookup(who)
    if found is None:
        connection.writer.write_control(client_answers.build_no_such_client(hub.header_len))
    else:
        connection.writer.write_control(build_raw(found, hub.header_len))


#: What a client may send: the feature that it needs, and the function that takes the frame.
_TAKEN: dict[bytes, tuple[str | None, Callable[[Connection, bytes], None]]] = {
    protocol.LEAVE: (None, _leave),
    protocol.GET_CLIENT: (None, _get_client),
    protocol.CHANGE_NAME: (None, _change_name),
    protocol.CHANGE_GROUP: (None, _change_group),
    protocol.CALL: ("call", _call),
    protocol.STREAM: ("stream", _stream),
    protocol.MORE: ("stream", _more),
    protocol.SEND: ("ack", _send),
    protocol.REPLY: ("call", _reply),
    protocol.CANCEL: ("cancel", _cancel),
}
