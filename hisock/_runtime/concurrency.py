"""The bounds on tasks of ``concurrent`` handlers: for each client, for each address, for all."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, Protocol

from hisock._core.account import Total, Use
from hisock._runtime import work

_KINDS = (Use.CONCURRENT,)
#: Tasks of all clients together, from which on clients that have :data:`FEW` start no more.
#: Each is fifteen objects for Python's full garbage collections, which take 2 to 5 µs for them, and
#: nobody is served meanwhile.
MANY: Final = 4096
#: Tasks that each client may have whatever others have, as long as there is memory; those that
#: disconnected clients of its address have left behind are among them. Many clients may so have
#: more than :data:`MANY` together: memory bounds these, and to refuse a client its first tasks
#: would let others shut it out.
FEW: Final = 8


class Pending:
    """A task that is started once those that run leave room for it.

    :param start: starts it.
    :param size: bytes to account for.
    :ivar on_drop: to be called if it is dropped because its client's connection has ended.
    """

    __slots__ = ("_coroutine", "_dropped", "_start", "on_drop", "size")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        start: Callable[[], None],
        size: int,
        on_drop: Callable[[], None] = lambda: None,
    ) -> None:
        self._coroutine = coroutine
        self._start = start
        self._dropped = False
        self.size = size
        self.on_drop = on_drop

    def start(self) -> None:
        """Start it, unless it was dropped."""
        if not self._dropped:
            self._start()

    def drop(self) -> None:
        """Do not start it."""
        self._dropped = True
        self._coroutine.close()


class TaskOwner(work.WorkOwner, Protocol):
    """A client that has tasks."""

    def begin(self) -> None:
        """Defer the client's next frames."""

    def idle(self) -> None:
        """Stop deferring them, as far as this reason goes."""


_Held = OrderedDict[TaskOwner, deque[Pending]]


class Concurrency:
    """Defers the frames of clients that have too many tasks. Runs on the loop's thread.

    Tasks of disconnected clients count for their address until they end, so that a client gains
    nothing by reconnecting. What the tasks of all clients occupy together is bounded as well, and
    clients with more than a few start no more while there are many.

    :param total: the total that the owners' accounts are part of.
    """

    def __init__(self, total: Total) -> None:
        self._total = total
        self._running = 0
        self._lines: dict[TaskOwner, work.Line] = {}
        # By address, while there are tasks of any of its clients.
        self._gone: dict[Hashable, work.Gone] = {}
        #: Clients whose next frames wait until these tasks are started, in order: those that lack
        #: memory only, and those that have more than a few tasks already.
        self._pending: _Held = OrderedDict()
        self._crowding: _Held = OrderedDict()
        self._closed = False

    def permits(self, owner: TaskOwner, size: int) -> bool:
        """Whether a task may be started now; otherwise it goes to :meth:`hold`."""
        return (
            not self._pending
            and self._total.permits(Use.CONCURRENT, size)
            and ((self._running < MANY and not self._crowding) or self._has_few(owner))
        )

    def _has_few(self, owner: TaskOwner) -> bool:
        line = self._lines.get(owner)
        running = 0 if line is None else line.running
        gone = self._gone.get(owner.address)
        return running + (0 if gone is None else gone.account.count(Use.CONCURRENT)) < FEW

    def hold(self, owner: TaskOwner, pending: Pending) -> None:
        """Start a task later, and defer the client's next frames until then."""
        if self._closed:
            pending.drop()
            return
        held = self._pending.get(owner) or self._crowding.get(owner)
        if held is None:
            held = deque()
            (self._pending if self._has_few(owner) else self._crowding)[owner] = held
            owner.begin()
        held.append(pending)
        owner.account.take(Use.PENDING, pending.size)

    def close(self) -> None:
        """Start no more of those that are held."""
        self._closed = True
        for owner in [*self._pending, *self._crowding]:
            self._drop(owner)

    def _drop(self, owner: TaskOwner) -> list[Pending]:
        """Drop what is held of a client; returns it."""
        held = list(self._pending.pop(owner, ()) or self._crowding.pop(owner, ()))
        for pending in held:
            owner.account.free(Use.PENDING, pending.size)
            pending.drop()
        return held

    def _start_pending(self) -> None:
        """Start what is held, as far as there is room."""
        while self._pending:
            if not self._start_first(self._pending):
                return
        while self._crowding and self._running < MANY:
            if not self._start_first(self._crowding):
                return

    def _start_first(self, line: _Held) -> bool:
        """Start the first task that is held, if there is memory for it."""
        owner, held = next(iter(line.items()))
        if not self._total.permits(Use.CONCURRENT, held[0].size):
            return False
        pending = held.popleft()
        if not held:
            del line[owner]
        owner.account.free(Use.PENDING, pending.size)
        pending.start()
        if not held:
            owner.idle()
        return True

    def begin(self, owner: TaskOwner, size: int) -> work.Line:
        """A task of a client is running.

        :returns: the line to call :meth:`end` with.
        """
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = self._new_line(owner)
        line.running += 1
        self._running += 1
        line.account.take(Use.CONCURRENT, size)
        if not line.full and line.holds_much:
            line.full = True
            if not line.gone.roomy:
                line.gone.held_up.append(line)
            owner.begin()
        return line

    def end(self, line: work.Line, size: int) -> None:
        """A task has ended."""
        line.running -= 1
        self._running -= 1
        line.account.free(Use.CONCURRENT, size)
        gone, owner = line.gone, line.owner
        if line.left and gone.account.count(Use.CONCURRENT) == FEW - 1:
            self._has_left_few(gone.address)
        elif owner in self._crowding and self._has_few(owner):
            self._pending[owner] = self._crowding.pop(owner)
        relieved = [line]
        if line.left and gone.roomy:
            relieved += gone.held_up
            gone.held_up.clear()
        if not line.running:
            self._forget(line)
        for each in relieved:
            _relieve(each)
        self._start_pending()

    def _has_left_few(self, address: Hashable) -> None:
        """Disconnected clients of an address hold up none of it any more."""
        freed = [one for one in self._crowding if one.address == address and self._has_few(one)]
        for owner in freed:
            self._pending[owner] = self._crowding.pop(owner)

    def leave(self, owner: TaskOwner) -> int:
        """A client has disconnected; its tasks continue, and keep nothing of it.

        :returns: how many tasks were dropped, which had not been started.
        """
        line = self._lines.pop(owner, None)
        if line is not None:
            line.leave()
            line.owner = None
            if line.full:
                line.full = False
                owner.idle()
        dropped = self._drop(owner)
        if dropped:
            owner.idle()
        for pending in dropped:
            pending.on_drop()
        return len(dropped)

    def _new_line(self, owner: TaskOwner) -> work.Line:
        gone = self._gone.get(owner.address)
        if gone is None:
            gone = work.Gone(owner.address, self._total, _KINDS)
            self._gone[owner.address] = gone
        gone.lines += 1
        return work.Line(owner, owner.account, gone)

    def _forget(self, line: work.Line) -> None:
        if not line.left:
            del self._lines[line.owner]
        line.gone.lines -= 1
        if not line.gone.lines:
            del self._gone[line.gone.address]


class TaskPlace:
    """The place of one task among those of its client, from when it runs.

    It knows the client until then only: one that has left is freed although its tasks continue.

    :param size: bytes to account for.
    """

    __slots__ = ("_concurrency", "_of", "size")

    def __init__(self, concurrency: Concurrency, owner: TaskOwner, size: int) -> None:
        self._concurrency = concurrency
        self._of: Any = owner
        self.size = size

    def begin(self) -> None:
        """The task is running."""
        self._of = self._concurrency.begin(self._of, self.size)

    def __call__(self) -> None:
        """The task has ended."""
        self._concurrency.end(self._of, self.size)


class OrderedPlace(TaskPlace):
    """The same of a task that the next frames of its client wait for, those that it sends when it
    has come back as well.
    """

    __slots__ = ("_owner",)

    def __init__(self, concurrency: Concurrency, owner: TaskOwner, size: int) -> None:
        super().__init__(concurrency, owner, size)
        self._owner = owner

    def begin(self) -> None:
        super().begin()
        self._owner.begin()

    def __call__(self) -> None:
        super().__call__()
        self._owner.idle()


def _relieve(line: work.Line) -> None:
    owner: TaskOwner = line.owner
    if line.full and not line.left and line.holds_little:
        line.full = False
        owner.idle()
