"""Telling clients that others joined and left."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from hisock._core import protocol
from hisock._server.audience import Members, everybody, group
from hisock._server.held_back import HeldBack
from hisock.framing import Gathered, fan_out

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

#: Seconds that announcements are gathered at most, before they are written together.
WINDOW = 0.02
#: Clients that are written to in one iteration of the loop.
_MOST_WRITES = 64
#: Announcements sent at once to a client that has caught up.
_PORTION = 256
#: And the part of its ``send_buffer`` that they may take: they alone never fill it.
_SHARE = 4


class Announcements:
    """The ``$CLTCONN$`` and ``$CLTDISCONN$`` frames. Everything here runs on the loop's thread.

    They are gathered: outboxes hold them, and queue them before the next frame of any kind, so that
    a client receives the same frames in the same order as without gathering. One that comes alone
    is written after the frames that are being read, those that follow when :data:`WINDOW` is over.
    A few clients are written to in one iteration of the loop, past the queue of the others, since
    an answer would wait behind a whole round.

    Announcements for a client that is behind are held back until it has caught up, and a join and
    a leave of the same client cancel out: otherwise strangers that connect and disconnect could
    fill the backlog of another client until that is disconnected.

    :ivar window: seconds that announcements are gathered; 0 writes each at once.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.window = WINDOW
        self._behind = HeldBack()
        #: What is gathered, by group; ``None`` is for everybody.
        self._gathered: dict[str | None, Gathered] = {}
        #: Who is yet to be written to: a group, how many frames they lack at most, and clients.
        self._rounds: deque[tuple[str | None, int, Iterator[Connection]]] = deque()
        #: Whether writing is due or under way.
        self._due = False
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
        key = self._key(group_name)
        members = self._members(key)
        if not members:
            return
        if own is not None and own in self._behind:
            self._behind.begin(own, key)  # of what was before its own join it hears nothing
        self._behind.add(key, event == protocol.CLIENT_JOINED, about, frame)
        self._unwritten += len(frame)
        if self.window:
            self._gather(key, members, frame, own)
            self._write_soon()
        else:
            fan_out(self._without_late(members), frame)
        if self._unwritten > self._most_bytes:
            self._write_now(members)

    def _key(self, group_name: str | None) -> str | None:
        """The group whose members are told of a client of that group; ``None`` for everybody."""
        return None if self._hub.options.announce == "all" else group_name

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

    def _gather(
        self, key: str | None, members: Members, frame: bytes, own: Connection | None
    ) -> None:
        gathered = self._gathered.get(key)
        if gathered is None:
            gathered = self._gathered[key] = Gathered(self._hub.lock)
            gathered.caught_up.update(dict.fromkeys(members, 0))
        gathered.add(frame)
        if own is not None and own not in self._behind:
            own.outbox.write(frame)
            gathered.got(own.outbox, _count(gathered))
        self._hold(gathered, members)

    def _hold(self, gathered: Gathered, members: Members) -> None:
        """Have outboxes that hold nothing of it hold the frames that they have not got."""
        count = _count(gathered)
        current = []
        # One by one, because other threads add to it when they write.
        while (caught_up := gathered.pop_caught_up()) is not None:
            outbox, got = caught_up
            peer = members.get(outbox)
            if peer is None or peer in self._behind:
                continue
            if got == count:
                current.append(outbox)
            else:
                outbox.hold(gathered, got)
        for outbox in current:
            gathered.got(outbox, count)

    # -- writing

    def _write_soon(self) -> None:
        """Write what is gathered after the frames that are being read, unless that is due."""
        if not self._due:
            self._due = True
            self._hub.loop.call_soon(self._write_all)

    def _write_all(self) -> None:
        """Begin to write to all clients what is gathered."""
        self._unwritten = 0
        for key, gathered in list(self._gathered.items()):
            count = _count(gathered)
            if gathered.first == count:
                del self._gathered[key]  # nothing came since the last time
                continue
            gathered.join(gathered.first)
            self._rounds.append((key, count, iter(list(self._members(key).values()))))
        self._write_some()

    def _write_some(self) -> None:
        """Write to a few clients, so that the loop reads in between."""
        most, rounds = _MOST_WRITES, self._rounds
        try:
            while rounds and most:
                key, count, peers = rounds[0]
                for peer in islice(peers, most):
                    most -= 1
                    peer.writer.flush_gathered(count)
                if most:
                    rounds.popleft()
                    self._end_round(self._gathered[key], count, self._members(key))
        finally:  # also when one has failed: nothing else goes on with it
            self._write_later()

    def _write_later(self) -> None:
        loop = self._hub.loop
        if self._rounds:
            loop.call_soon(self._write_some)
        elif self._gathered:
            loop.call_later(self.window, self._write_all)
        else:
            self._due = False

    def _end_round(self, gathered: Gathered, count: int, members: Members) -> None:
        """Forget what all have got by now."""
        self._hold(gathered, members)
        gathered.forget(count)

    def _write_now(self, members: Members) -> None:
        """Write what was announced, so that it is seen which clients are behind from now on.

        Hundreds may join in one iteration of the loop, at the end of which it would be too late.
        """
        self._unwritten = 0
        for peer in list(members.values()):
            if not peer.writer.closing:  # asyncio would log each write to a lost connection
                peer.writer.flush()

    def moved(self, connection: Connection) -> None:
        """A client has changed its group: other announcements concern it from now on."""
        if self._hub.options.announce == "group":
            connection.outbox.catch_up()
            self._start_at_end(connection)
            if connection in self._behind:
                self._behind.move(connection, connection.info.group)

    def _start_at_end(self, connection: Connection) -> None:
        gathered = self._gathered.get(self._key(connection.info.group))
        if gathered is not None:
            gathered.got(connection.outbox, _count(gathered))

    # -- clients that are behind

    def fall_behind(self, connection: Connection) -> None:
        """Hold back announcements for a client whose transport takes no more at the moment."""
        if connection not in self._behind:
            connection.outbox.catch_up()
            self._behind.begin(connection, self._key(connection.info.group))

    def catch_up(self, connection: Connection) -> None:
        """Send a client that reads again what was held back, a portion at a time."""
        behind = self._behind
        if connection not in behind or connection.ended or connection.writer.paused:
            return
        for frame in behind.take(connection, _PORTION, self._most_bytes):
            connection.outbox.write(frame)
        connection.writer.flush()
        if behind.lacks(connection):
            self._hub.loop.call_soon(self.catch_up, connection)
        elif not connection.writer.paused:
            behind.end(connection)
            self._start_at_end(connection)

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._behind.end(connection)


def _count(gathered: Gathered) -> int:
    """How many frames were ever gathered there."""
    return gathered.first + len(gathered.frames)
