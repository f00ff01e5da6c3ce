"""Announcements for clients that are behind: kept once for all of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hisock._server.connection import Connection

#: Announcements from which on those that no client lacks any more are looked for.
_FEW = 64


class HeldBack:
    """The clients that are behind, and what is announced to them meanwhile.

    Everything announced to everybody, or to one group, is in one log, in which each client that is
    behind has a place. A join and a leave cancel out for the clients that have got neither. So what
    is kept is bounded by the clients that are there and those that a client knew when it fell
    behind, and does not grow with each client that is behind.
    """

    def __init__(self) -> None:
        self._logs: dict[str | None, _Log] = {}
        #: For each client the log that it has a place in, and what it took from it, newest first.
        self._clients: dict[Connection, tuple[str | None, list[bytes]]] = {}

    def __contains__(self, client: Connection) -> bool:
        return client in self._clients

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._clients)

    def __len__(self) -> int:
        """How many announcements are kept."""
        return sum(len(log.entries) for log in self._logs.values())

    def begin(self, client: Connection, key: str | None) -> None:
        """Hold back for a client what is announced from now on, and nothing from before.

        :param key: its group, or ``None`` for what is announced to everybody.
        """
        self.end(client)
        self._clients[client] = (key, [])
        self._logs.setdefault(key, _Log()).enter(client)

    def move(self, client: Connection, key: str | None) -> None:
        """Hold back what is announced to another group from now on, after what there was."""
        old, taken = self._clients[client]
        if key != old:
            taken = self._logs[old].take(client) + taken
            self.begin(client, key)
            self._clients[client] = (key, taken)

    def end(self, client: Connection) -> None:
        """Hold back nothing more for a client, and forget what it did not take."""
        if client in self._clients:
            key, _ = self._clients.pop(client)
            places = self._logs[key].places
            del places[client]
            if not places:
                del self._logs[key]

    def add(self, key: str | None, joined: bool, about: Hashable, frame: bytes) -> None:
        """Keep an announcement for the clients that are behind, if there are any.

        :param joined: whether a client joined; otherwise it left.
        :param about: identifies that client.
        """
        log = self._logs.get(key)
        if log is not None:
            log.add(joined, about, frame)

    def take(self, client: Connection, most: int, most_bytes: int) -> list[bytes]:
        """The next announcements that a client lacks, in order.

        :param most: how many at most.
        :param most_bytes: bytes after which no more are taken.
        """
        key, taken = self._clients[client]
        if not taken:
            taken += self._logs[key].take(client)
        frames: list[bytes] = []
        while taken and len(frames) < most and most_bytes > 0:
            frames.append(taken.pop())
            most_bytes -= len(frames[-1])
        return frames

    def lacks(self, client: Connection) -> bool:
        """Whether there may be more for a client; not if its connection has ended meanwhile."""
        if client not in self._clients:
            return False
        key, taken = self._clients[client]
        log = self._logs[key]
        return bool(taken) or log.places[client] < log.next


class _Log:
    """What is announced to everybody, or to one group.

    :ivar entries: by number, in order: the number of the join that a leave belongs to (-1 if that
        was not here), and the frame.
    :ivar places: the number of the first announcement that each client lacks.
    :ivar next: the number of the next announcement.
    """

    def __init__(self) -> None:
        self.entries: dict[int, tuple[int, bytes]] = {}
        self.places: dict[Connection, int] = {}
        self.next = 0
        #: The numbers of the joins of clients that are there.
        self._joins: dict[Hashable, int] = {}
        #: No client has a place after this one.
        self._last = 0
        self._many = _FEW

    def enter(self, client: Connection) -> None:
        self.places[client] = self._last = self.next

    def add(self, joined: bool, about: Hashable, frame: bytes) -> None:
        join = -1
        if joined:
            self._joins[about] = self.next
        else:
            join = self._joins.pop(about, -1)
            # Clients with a later place have got the join, and the others need neither.
            if self.entries.pop(join, None) is not None and join >= self._last:
                return
        self.entries[self.next] = (join, frame)
        self.next += 1
        if len(self.entries) > self._many:
            self._tidy()

    def take(self, client: Connection) -> list[bytes]:
        """All that a client lacks, newest first; its place is the end then."""
        place = self.places[client]
        frames = []
        for number, (join, frame) in reversed(self.entries.items()):
            if number < place:
                break
            if join < place:
                frames.append(frame)
        self.enter(client)
        return frames

    def _tidy(self) -> None:
        """Forget what no client lacks."""
        places = sorted(self.places.values())
        for number, (join, _) in list(self.entries.items()):
            at = bisect_right(places, join)
            if at == len(places) or places[at] > number:
                del self.entries[number]
        self._many = 2 * len(self.entries) + _FEW
