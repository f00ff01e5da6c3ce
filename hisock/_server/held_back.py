"""Announcements for clients that are behind: kept once for all of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hisock._server.connection import Connection

#: Announcements from which on those that no client lacks any more are looked for.
_FEW = 64


class HeldBack:
    """The clients that are behind, and what is announced to them meanwhile.

    Everything announced to everybody, or to one group, is in one log, in which each client that is
    behind has a place. A join and a leave cancel out for the clients that have got neither. So what
    is kept is bounded by the clients that are there and those that a client knew when it fell
    behind, and does not grow with each client that is behind, nor when they change their groups.
    """

    def __init__(self) -> None:
        self._logs: dict[str | None, _Log] = {}
        self._clients: dict[Connection, _Behind] = {}
        #: The number of the next announcement in any log.
        self._next = 0
        #: Of clients that are there: the number of the join, and its log.
        self._joins: dict[Hashable, tuple[int, str | None]] = {}
        self._numbers: set[int] = set()

    def __contains__(self, client: Connection) -> bool:
        return client in self._clients

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._clients)

    def __len__(self) -> int:
        """How many announcements are kept."""
        own = sum(len(behind.due) + len(behind.later) for behind in self._clients.values())
        return own + sum(len(log.entries) for log in self._logs.values())

    def begin(self, client: Connection, key: str | None) -> None:
        """Hold back for a client what is announced from now on, and nothing from before.

        :param key: its group, or ``None`` for what is announced to everybody.
        """
        self.end(client)
        behind = self._clients[client] = _Behind(key, self._next)
        self._enter(client, behind)

    def _enter(self, client: Connection, behind: _Behind) -> None:
        behind.place = self._next
        log = self._logs.setdefault(behind.key, _Log())
        log.clients[client] = behind
        log.known = max(log.known, behind.known)

    def move(self, client: Connection, key: str | None) -> None:
        """Hold back what is announced to another group from now on, after what there was."""
        behind = self._clients[client]
        if key != behind.key:
            behind.later = self._logs[behind.key].lacked(behind) + behind.later
            if len(behind.later) > behind.many:
                self._cancel(behind)
                behind.many = 2 * len(behind.later) + _FEW
            self._leave(client, behind)
            behind.key = key
            self._enter(client, behind)

    def _cancel(self, behind: _Behind) -> None:
        """Forget that others joined which have left since: their leaves are not kept either."""
        numbers = self._numbers
        behind.later = [
            each
            for each in behind.later
            if each.join != each.number or each.number in numbers or each.number < behind.known
        ]

    def end(self, client: Connection) -> None:
        """Hold back nothing more for a client, and forget what it did not take."""
        behind = self._clients.pop(client, None)
        if behind is not None:
            self._leave(client, behind)
            if not self._clients:
                self._joins.clear()
                self._numbers.clear()

    def _leave(self, client: Connection, behind: _Behind) -> None:
        clients = self._logs[behind.key].clients
        del clients[client]
        if not clients:
            del self._logs[behind.key]

    def add(self, key: str | None, joined: bool, about: Hashable, frame: bytes) -> None:
        """Keep an announcement for the clients that are behind, if there are any.

        :param joined: whether a client joined; otherwise it left.
        :param about: identifies that client.
        """
        if not self._clients:
            return
        number, log = self._next, self._logs.get(key)
        self._next += 1
        if joined:
            join = number
            self._joins[about] = number, key
            self._numbers.add(number)
        else:
            # It may have joined another group than the one that it leaves.
            join, joined_key = self._joins.pop(about, (-1, None))
            self._numbers.discard(join)
            before = self._logs.get(joined_key)
            if before is not None:
                before.entries.pop(join, None)
            if log is not None and join >= log.known:
                return  # nobody there has got the join, so that they need neither
        if log is not None:
            log.add(_Entry(number, join, frame))

    def take(self, client: Connection, most: int, most_bytes: int) -> list[bytes]:
        """The next announcements that a client lacks, in order.

        :param most: how many at most.
        :param most_bytes: bytes after which no more are taken.
        """
        behind = self._clients[client]
        if not behind.due:
            self._make_due(client, behind)
        due = behind.due
        frames: list[bytes] = []
        while due and len(frames) < most and most_bytes > 0:
            frames.append(due.pop().frame)
            most_bytes -= len(frames[-1])
        return frames

    def _make_due(self, client: Connection, behind: _Behind) -> None:
        """All that a client lacks by now it will get, and be told when those leave."""
        behind.later = self._logs[behind.key].lacked(behind) + behind.later
        self._cancel(behind)
        behind.due, behind.later = behind.later, []
        behind.known = self._next
        self._enter(client, behind)

    def lacks(self, client: Connection) -> bool:
        """Whether there may be more for a client; not if its connection has ended meanwhile."""
        behind = self._clients.get(client)
        if behind is None:
            return False
        return bool(behind.due or behind.later) or behind.place < self._logs[behind.key].next


class _Entry(NamedTuple):
    """An announcement.

    :ivar join: the number of the join that a leave belongs to, -1 if that came before all that is
        kept; of a join its own number.
    """

    number: int
    join: int
    frame: bytes


class _Behind:
    """What a client that is behind lacks, apart from the log of its group.

    :ivar known: the number from which on it has heard of no join, and will not but by ``later``.
    :ivar place: the number of the first announcement in the log that it lacks.
    :ivar due: what it is being sent, newest first.
    :ivar later: what it lacks of its earlier groups, newest first.
    :ivar many: announcements in ``later`` from which on those that cancel out are looked for.
    """

    __slots__ = ("due", "key", "known", "later", "many", "place")

    def __init__(self, key: str | None, number: int) -> None:
        self.key = key
        self.known = self.place = number
        self.due: list[_Entry] = []
        self.later: list[_Entry] = []
        self.many = _FEW


class _Log:
    """What is announced to everybody, or to one group.

    :ivar entries: by number, in order.
    :ivar clients: those that are behind.
    :ivar known: none of them knows a client whose join has this number, or a later one.
    :ivar next: the number behind the last one.
    """

    def __init__(self) -> None:
        self.entries: dict[int, _Entry] = {}
        self.clients: dict[Connection, _Behind] = {}
        self.known = self.next = 0
        self._many = _FEW

    def add(self, entry: _Entry) -> None:
        self.entries[entry.number] = entry
        self.next = entry.number + 1
        if len(self.entries) > self._many:
            self._tidy()

    def lacked(self, behind: _Behind) -> list[_Entry]:
        """What a client lacks from its place on, newest first."""
        lacked = []
        for number, entry in reversed(self.entries.items()):
            if number < behind.place:
                break
            if entry.join == number or entry.join < behind.known:
                lacked.append(entry)
        return lacked

    def _tidy(self) -> None:
        """Forget what no client lacks."""
        clients = sorted((behind.place, behind.known) for behind in self.clients.values())
        places = [place for place, _ in clients]
        # Of the clients up to each place, the one that knows most.
        known = list(accumulate((known for _, known in clients), max))
        for number, entry in list(self.entries.items()):
            at = bisect_right(places, number)
            if not at or (entry.join != number and known[at - 1] <= entry.join):
                del self.entries[number]
        self._many = 2 * len(self.entries) + _FEW
