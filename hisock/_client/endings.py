"""How a connection ends, and what the server said about that."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from hisock._core import protocol
from hisock._core.goodbyes import parse_goaway
from hisock.exceptions import (
    ClientDisconnected,
    ConnectionLost,
    ConnectionRejected,
    ProtocolError,
)
from hisock.framing import Frame


class End(enum.Enum):
    """How a connection ended."""

    #: Without a ``$DISCONN$`` or ``$USRCLOSE$``.
    LOST = "lost"
    #: The server shut down, and announced when it will be back.
    SENT_AWAY = "sent away"
    #: The server disconnected the client.
    KICKED = "kicked"
    #: The server rejected the client.
    REJECTED = "rejected"
    #: The client closed it.
    LEFT = "left"
    #: The client closed it without a goodbye.
    CLOSED = "closed"


#: Those after which a client with ``reconnect`` comes back.
PASSING = frozenset({End.LOST, End.SENT_AWAY})


class ServerStops(ConnectionLost):
    """The server stops, and asks its clients to come back.

    :ivar seconds: how long they are to stay away at least.
    """

    seconds = 0.0


Ending = tuple[End, Exception]


def goodbye_in(frames: Iterable[Frame]) -> Ending | None:
    """How the server ended the connection, if it said so in one of these frames."""
    for command, payload in frames:
        if command is None and payload is not None and payload.startswith(_GOODBYES):
            name = payload[: payload.find(b"$", 1) + 1]
            return read_goodbye(name, payload[len(name) :])
    return None


_GOODBYES = (protocol.DISCONNECT, protocol.REJECT, protocol.GOAWAY)


def read_goodbye(name: bytes, data: bytes) -> Ending | None:
    """How the server ended the connection, if this reserved frame says so."""
    if name == protocol.DISCONNECT:
        return End.KICKED, ClientDisconnected("the server disconnected the client")
    if name == protocol.REJECT:
        return End.REJECTED, ConnectionRejected(data.decode("utf-8", "replace"))
    if name == protocol.GOAWAY:
        return _sent_away(data)
    return None


def _sent_away(data: bytes) -> Ending:
    try:
        seconds = parse_goaway(data)
    except ProtocolError as exc:
        return End.LOST, ConnectionLost(f"the server broke the protocol: {exc}")
    reason = ServerStops(f"the server stops, and is to be back in {seconds:g} seconds")
    reason.seconds = seconds
    return End.SENT_AWAY, reason
