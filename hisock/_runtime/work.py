"""The work of clients in the thread pool: queued, running, and left behind by disconnected ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, Protocol

from hisock._core.account import Account, Total, Use

#: Threads at most; more work waits, so that a peer cannot start any number of threads.
MOST_THREADS = 256
#: Threads that one client may occupy, together with disconnected clients of its address.
FAIR_SHARE = MOST_THREADS // 4
#: The kinds of memory use that threaded work is counted as.
THREADED = (Use.QUEUED, Use.RUNNING)


class WorkOwner(Protocol):
    """A client, as far as its work is concerned."""

    @property
    def account(self) -> Account:
        """Where its work is counted."""

    @property
    def address(self) -> Hashable:
        """The key that all clients from one address share."""


class Work(NamedTuple):
    """A function to be called, and the bytes to account for until that is done.

    :ivar on_drop: to be called instead if it is dropped because its client's connection has ended.
    """

    func: Callable[..., Any]
    args: tuple[Any, ...]
    size: int
    on_drop: Callable[[], None]


class Gone:
    """What disconnected clients of one address still occupy.

    :ivar kinds: the kinds of memory use that their work is counted as.
    :ivar lines: how many lines the address has, including those of connected clients.
    :ivar held_up: lines of connected clients that are paused until less is left behind.
    :ivar starved: lines that wait for threads which disconnected clients occupy.
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
        """Whether little enough is left behind that no client has to wait for it."""
        return all(map(self.account.roomy, self.kinds))


class Line:
    """The work of one client.

    :ivar owner: the client; ``None`` for work of no client, and for tasks of one that has left.
    :ivar account: counts the work; after the client has disconnected, the account of its address.
    :ivar gone: what disconnected clients of its address occupy.
    :ivar running: how many threads, or tasks, run its work.
    :ivar waiting: the queue of work that waits for a thread, oldest first.
    :ivar in_turn: whether it is queued for the next free thread.
    :ivar starved: whether it waits for a thread that a disconnected client occupies.
    :ivar full: whether its owner is paused because the queue is full.
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
        """The client has disconnected."""
        self.account.hand_over(self.gone.kinds, self.gone.account)
        self.account = self.gone.account

    @property
    def left(self) -> bool:
        """Whether the client has disconnected."""
        return self.account is self.gone.account

    @property
    def may_have_one_more(self) -> bool:
        """Whether it may have another thread; a first one it may always have."""
        if self.gone.address is None:  # there are no other clients
            return self.running < MOST_THREADS
        left_behind = self.gone.account.count(Use.RUNNING)
        taken = left_behind if self.left else left_behind + self.running
        return not self.running or taken < FAIR_SHARE

    @property
    def holds_much(self) -> bool:
        """Whether it is over the high-water mark: reading from the client pauses."""
        return any(map(self.account.full, self.gone.kinds)) or not self.gone.roomy

    @property
    def holds_little(self) -> bool:
        """Whether it is below the low-water mark: reading resumes."""
        return all(map(self.account.roomy, self.gone.kinds)) and self.gone.roomy
