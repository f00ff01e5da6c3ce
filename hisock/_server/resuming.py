"""Clients that come back: the same one by another connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub


class Resumable:
    """The connections of clients that can come back after losing them, by their secrets."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._connections: dict[str, Connection] = {}

    def replace(self, connection: Connection, secret: str) -> None:
        """Replace the old connection of a client that came back.

        Its loss may not have been noticed yet. And if a handler of a confirmed message still runs,
        what comes by the new connection waits for that, as it would have on the old one.
        """
        ghost = self._connections.get(secret)
        if ghost is not None:
            self._hub.leave(ghost, "replaced", "its client came back", at_once=True)
            if ghost.lost:
                # Only a handler kept it among the connections, which are limited in number.
                self._hub.disconnected(ghost)
        self._connections[secret] = connection
        before = self._hub.receipts.unfinished(secret)
        if before is not None and before.busy:
            before.precede(connection)

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        secret = connection.resume
        if secret is not None and self._connections.get(secret) is connection:
            del self._connections[secret]

    def clear(self) -> None:
        """All connections end."""
        self._connections.clear()
