"""Telling clients that others joined and left."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from typing import TYPE_CHECKING

from hisock._core import protocol
from hisock._server.audience import Members, everybody, group
from hisock.framing import Gathered, fan_out

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

#: Seconds that announcements are gathered at most, before they are written together.
WINDOW = 0.02
#: Announcements sent at once to a client that has caught up.
_PORTION = 256
#: And the part of its ``send_buffer`` that they may take: they alone never fill it.
_SHARE = 4


class Announcements:
    """The ``$CLTCONN$`` and ``$CLTDISCONN$`` frames. Everything here runs on the loop's thread.

    One that comes alone is written at once. Those that follow within :data:`WINDOW` are gathered:
    outboxes hold them, and queue them before the next frame of any kind, so that a client receives
    the same frames in the same order as without gathering.

    Announcements for a client that is behind are held back until it has caught up, and a join and
    a leave of the same client cancel out: otherwise strangers that connect and disconnect could
    fill the backlog of another client until that is disconnected. What is held back is bounded by
    the number of clients.

    :ivar window: seconds that announcements are gathered; 0 writes each at once.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.window = WINDOW
        #: For each client that is behind, frames by the client that they are about.
        self._behind: dict[Connection, dict[Hashable, bytes]] = {}
        #: What was gathered in this window, by group; ``None`` is for everybody.
        self._gathered: dict[str | None, Gathered] = {}
        self._window_open = False
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
        frame = protocol.build_reserved(event, hub.describe(connection), hub.header_len)
        own = connection if event == protocol.CLIENT_JOINED else None
        self.announce(event, frame, name, connection.joined, own)

    def announce(
        self,
        event: bytes,
        frame: bytes,
        group_name: str | None,
        about: Hashable,
        own: Connection | None = None,
    ) -> None:
        """Announce a client of this server or of another one.

        :param event: ``protocol.CLIENT_JOINED`` or ``protocol.CLIENT_LEFT``.
        :param frame: the frame that says so.
        :param group_name: the client's group, whose members are told with ``announce="group"``.
        :param about: identifies the client: its join and leave may cancel out.
        :param own: the client's own connection if it has just joined this server. It gets the
            frame at once, because a client waits for that.
        """
        key = None if self._hub.options.announce == "all" else group_name
        members = self._members(key)
        if not members:
            return
        for peer in self._behind:
            if peer.outbox in members:
                self._tell_later(peer, event, about, frame)
        self._unwritten += len(frame)
        if self.window and self._window_open:
            self._gather(key, members, frame, own)
        else:
            fan_out(self._without_late(members), frame)
            self._open_window()
        if self._unwritten > self._most_bytes:
            self._write_now(members)

    def _members(self, key: str | None) -> Members:
        return self._hub.broadcast.members(everybody() if key is None else group(key))

    def _without_late(self, members: Members) -> Members:
        late = [peer.outbox for peer in self._behind if peer.outbox in members]
        if late:
            members = dict(members)
            for outbox in late:
                del members[outbox]
        return members

    # -- gathering

    def _open_window(self) -> None:
        if self.window and not self._window_open:
            self._window_open = True
            self._hub.loop.call_later(self.window, self._close_window)

    def _close_window(self) -> None:
        """Queue what was gathered; another window follows while announcements keep coming."""
        self._window_open = False
        self._unwritten = 0
        if self._gathered:
            self._queue_gathered()
            self._open_window()

    def _gather(
        self, key: str | None, members: Members, frame: bytes, own: Connection | None
    ) -> None:
        gathered = self._gathered.get(key)
        if gathered is None:
            gathered = self._gathered[key] = Gathered(self._hub.lock)
            gathered.caught_up.update(dict.fromkeys(self._without_late(members), 0))
        gathered.frames.append(frame)
        if own is not None and own not in self._behind:
            own.outbox.write(frame)
            gathered.caught_up[own.outbox] = len(gathered.frames)
        self._hold(gathered, members)

    def _hold(self, gathered: Gathered, members: Members) -> None:
        """Have outboxes that hold nothing of it hold the frames that they have not got."""
        caught_up, count = gathered.caught_up, len(gathered.frames)
        current = []
        # One by one, because other threads add to it when they write.
        while caught_up:
            outbox, got = caught_up.popitem()
            peer = members.get(outbox)
            if peer is None or peer in self._behind:
                continue
            if got == count:
                current.append(outbox)
            else:
                outbox.hold(gathered, got)
        for outbox in current:
            caught_up.setdefault(outbox, count)

    def _queue_gathered(self) -> None:
        for key in list(self._gathered):
            gathered = self._gathered[key]
            gathered.whole = b"".join(gathered.frames)
            members = self._members(key)
            self._hold(gathered, members)
            for outbox in list(members):
                outbox.catch_up()
            del self._gathered[key]

    def _write_now(self, members: Members) -> None:
        """Write what was announced, so that it is seen which clients are behind from now on.

        Hundreds may join in one iteration of the loop, at the end of which it would be too late.
        """
        self._unwritten = 0
        self._queue_gathered()
        for peer in list(members.values()):
            peer.writer.flush()

    def moved(self, connection: Connection) -> None:
        """A client has changed its group: other announcements concern it from now on."""
        if self._hub.options.announce == "group":
            connection.outbox.catch_up()
            self._start_at_end(connection)

    def _start_at_end(self, connection: Connection) -> None:
        key = None if self._hub.options.announce == "all" else connection.info.group
        gathered = self._gathered.get(key)
        if gathered is not None:
            gathered.caught_up[connection.outbox] = len(gathered.frames)

    # -- clients that are behind

    def _tell_later(self, peer: Connection, event: bytes, about: Hashable, frame: bytes) -> None:
        waiting = self._behind[peer]
        if event == protocol.CLIENT_LEFT and waiting.pop(about, None) is not None:
            return  # it joined and left meanwhile: nothing to announce
        waiting[about] = frame

    def fall_behind(self, connection: Connection) -> None:
        """Hold back announcements for a client whose transport takes no more at the moment."""
        if connection not in self._behind:
            connection.outbox.catch_up()
            self._behind[connection] = {}

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
        elif not connection.writer.paused:
            del self._behind[connection]
            self._start_at_end(connection)

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._behind.pop(connection, None)
