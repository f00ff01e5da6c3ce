"""Telling clients that others joined and left."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from hisock._core import protocol
from hisock._server.audience import everybody, group
from hisock.framing import fan_out

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

#: Announcements sent at once to a client that has caught up.
_PORTION = 256
#: And the part of its ``send_buffer`` that they may take: they alone never fill it.
_SHARE = 4


class Announcements:
    """The ``$CLTCONN$`` and ``$CLTDISCONN$`` frames. Everything here runs on the loop's thread.

    Announcements for a client that is behind are held back until it has caught up, and a join and
    a leave of the same client cancel out: otherwise strangers that connect and disconnect could
    fill the backlog of another client until that is disconnected. What is held back is bounded by
    the number of clients.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        #: For each client that is behind, frames by the number of the client that they are about.
        self._behind: dict[Connection, dict[int, bytes]] = {}
        self._most_bytes = hub.options.send_buffer // _SHARE
        #: Bytes announced since it was last seen which clients take them.
        self._unwritten = 0

    def tell(self, event: bytes, connection: Connection) -> None:
        """Announce that a client joined or left.

        :param event: ``protocol.CLIENT_JOINED`` or ``protocol.CLIENT_LEFT``.
        """
        hub, name = self._hub, connection.info.group
        if hub.options.announce == "none" or (hub.options.announce == "group" and name is None):
            return
        whole = hub.options.announce == "all" or name is None
        members = hub.broadcast.members(everybody() if whole else group(name or ""))
        if not members:
            return
        frame = protocol.build_reserved(event, hub.describe(connection), hub.header_len)
        late = [peer for peer in self._behind if peer.outbox in members]
        if late:
            members = dict(members)
            for peer in late:
                del members[peer.outbox]
                self._tell_later(peer, event, connection.joined, frame)
        fan_out(members, frame)
        self._unwritten += len(frame)
        if self._unwritten > self._most_bytes:
            self._write_now(members.values())

    def _write_now(self, peers: Iterable[Connection]) -> None:
        """Write what was announced, so that it is seen which clients are behind from now on.

        Hundreds may join in one iteration of the loop, at the end of which it would be too late.
        """
        self._unwritten = 0
        for peer in list(peers):
            peer.writer.flush()

    def _tell_later(self, peer: Connection, event: bytes, number: int, frame: bytes) -> None:
        waiting = self._behind[peer]
        if event == protocol.CLIENT_LEFT and waiting.pop(number, None) is not None:
            return  # it joined and left meanwhile: nothing to announce
        waiting[number] = frame

    def fall_behind(self, connection: Connection) -> None:
        """Hold back announcements for a client whose transport takes no more at the moment."""
        self._behind.setdefault(connection, {})

    def catch_up(self, connection: Connection) -> None:
        """Send a client that reads again what was held back, a portion at a time."""
        waiting = self._behind.get(connection)
        if waiting is None or connection.ended or connection.writer.paused:
            return
        room = self._most_bytes
        for number in list(islice(waiting, _PORTION)):
            frame = waiting.pop(number)
            connection.outbox.write(frame)
            room -= len(frame)
            if room <= 0:
                break
        connection.writer.flush()
        if waiting:
            self._hub.loop.call_soon(self.catch_up, connection)
        else:
            del self._behind[connection]

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._behind.pop(connection, None)
