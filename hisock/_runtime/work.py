"""The work that clients have for threads: queued, begun, and left behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, Protocol

from hisock._core.account import Account, Total, Use

#: Threads at most; work beyond that waits, so that a peer cannot start threads without end.
MOST_THREADS = 256
#: How many of them one client may have, together with those that have gone from its address.
FAIR_SHARE = MOST_THREADS // 4
#: What threaded work is counted as.
THREADED = (Use.QUEUED, Use.RUNNING)


class WorkOwner(Protocol):
    """A client, as far as its work is concerned.

    :ivar account: where its work is counted.
    """

    account: Account

    @property
    def address(self) -> Hashable:
        """What it has in common with others that come from where it comes from."""


class Work(NamedTuple):
    """A function to be called, and the bytes to account for until that is done."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    size: int


class Gone:
    """What clients that have gone from one address still occupy.

    :ivar kinds: what their work is counted as.
    :ivar lines: how many lines are of that address, those of clients that are connected included.
    :ivar held_up: lines whose owners are not read until less is left behind.
    :ivar starved: lines that wait for a thread, because such clients have theirs.
    """

    __slots__ = ("account", "address", "held_up", "kinds", "lines", "starved")

    def __init__(self, address: Hashable, total: Total, kinds: tuple[Use, ...] = THREADED) -> None:
        self.address = address
        self.kinds = kinds
        self.account = Account(total)
        self.lines = 0
        self.held_up: deque[Line] = deque()
        self.starved: deque[Line] = deque()

    @property
    def roomy(self) -> bool:
        """Whether so little is left behind that it holds up nobody."""
        return all(map(self.account.roomy, self.kinds))


class Line:
    """The work of one client.

    :ivar owner: the client; ``None`` for what is of no client.
    :ivar account: where it is counted; once the client has gone, that of its address.
    :ivar gone: what clients that have gone from its address occupy.
    :ivar running: how many threads, or tasks, are at it.
    :ivar waiting: what waits for a thread, oldest first.
    :ivar in_turn: whether it waits for the next thread that comes free.
    :ivar starved: whether it waits for a thread of clients that have gone.
    :ivar full: whether its owner was told that too much waits.
    """

    __slots__ = ("account", "full", "gone", "in_turn", "owner", "running", "starved", "waiting")

    def __init__(self, owner: Any, account: Account, gone: Gone) -> None:
        self.owner = owner
        self.account = account
        self.gone = gone
        self.running = 0
        self.waiting: deque[Work] = deque()
        self.in_turn = False
        self.starved = False
        self.full = False

    def leave(self) -> None:
        """The client has gone."""
        self.account.hand_over(self.gone.kinds, self.gone.account)
        self.account = self.gone.account

    @property
    def left(self) -> bool:
        """Whether the client has gone."""
        return self.account is self.gone.account

    @property
    def may_have_one_more(self) -> bool:
        """Whether it may have another thread; always a first one, whatever others have."""
        if self.owner is None:
            return self.running < MOST_THREADS
        left_behind = self.gone.account.count(Use.RUNNING)
        taken = left_behind if self.left else left_behind + self.running
        return not self.running or taken < FAIR_SHARE

    @property
    def holds_much(self) -> bool:
        """Whether the client is to send no more for now."""
        return any(map(self.account.full, self.gone.kinds)) or not self.gone.roomy

    @property
    def holds_little(self) -> bool:
        """Whether it may send again."""
        return all(map(self.account.roomy, self.gone.kinds)) and self.gone.roomy
