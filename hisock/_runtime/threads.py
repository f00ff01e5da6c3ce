"""Threads for ``threaded=True`` handlers: reused when idle, started when all are busy.

The threads of ``concurrent.futures`` keep a program alive until their work is done. A handler may
wait for input for ever, so these are daemon threads, as in 2.0.2.

On a server each client has a queue of its own. One client gets only a share of the threads, and
threads serve the queues in turn. What disconnected clients still occupy counts for their address,
so that a client gains nothing by reconnecting.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from queue import Empty, SimpleQueue
from typing import Any

from hisock._core.account import BOUNDS, Account, Total, Use
from hisock._runtime.work import (
    FAIR_SHARE,
    MOST_THREADS,
    THREADED,
    Gone,
    Line,
    Work,
    WorkOwner,
)

__all__ = ["FAIR_SHARE", "IDLE_SECONDS", "MOST_THREADS", "WAITING_WORK", "Threads"]

#: Seconds after which a thread without work ends.
IDLE_SECONDS = 10.0
#: Pieces of work of one client that may wait for a thread before reading from it pauses.
WAITING_WORK = BOUNDS[Use.QUEUED].items


class Threads:
    """A pool of daemon threads, in which a blocking handler does not delay others.

    :param name: prefix of the threads' names.
    :param go_on: called with an owner, in any thread, when its queue has drained below the
        low-water mark after :meth:`submit_for` reported it as full.
    :param total: the total that the owners' accounts are part of.
    :param kinds: what an owner may have much of, until it is told that its queue is full.
    """

    def __init__(
        self,
        name: str,
        go_on: Callable[[Any], None] = lambda owner: None,
        total: Total | None = None,
        kinds: tuple[Use, ...] = THREADED,
    ) -> None:
        self._name = name
        self._kinds = kinds
        self._total = Total(0) if total is None else total
        self._go_on = go_on
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        # Work for an idle or a new thread; ``None`` ends the thread.
        self._handed: SimpleQueue[tuple[Line, Work] | None] = SimpleQueue()
        self._lines: dict[WorkOwner | None, Line] = {}
        # By address, while any of its clients has work; and the lines of disconnected clients.
        self._gone: dict[Hashable, Gone] = {}
        self._left: set[Line] = set()
        # The lines that have work and may have another thread; each gets one in turn.
        self._turns: deque[Line] = deque()
        self._unfinished = 0
        self._on_finish: Callable[[], None] | None = None
        self._closed = False

    def submit(self, func: Callable[..., Any], *args: Any) -> None:
        """Run ``func(*args)`` in a thread; it must handle its own errors."""
        self.submit_for(None, 0, func, *args)

    def submit_for(
        self,
        owner: WorkOwner | None,
        size: int,
        func: Callable[..., Any],
        *args: Any,
        on_drop: Callable[[], None] | None = None,
    ) -> bool:
        """Run ``func(*args)`` in a thread on behalf of a client, which shares the threads.

        :param owner: the client; ``None`` for work of no client, which may have all threads.
        :param size: bytes to account for until it is done.
        :param on_drop: called instead, by :meth:`leave` or :meth:`drop_left`, if these drop it.
        :returns: whether the owner's queue is full now; ``go_on(owner)`` is called once it has
            drained.
        """
        with self._lock:
            if self._closed:
                return False
            line = self._lines.get(owner)
            if line is None:
                line = self._lines[owner] = self._new_line(owner)
            line.waiting.append(Work(func, args, size, on_drop or _nothing))
            line.account.take(Use.QUEUED, size)
            self._unfinished += 1
            self._queue_up(line)
            self._staff()
            if line.full or owner is None or not line.holds_much:
                return False
            line.full = True
            if not line.gone.roomy:
                line.gone.held_up.append(line)
            return True

    def leave(self, owner: WorkOwner, drop: bool = False) -> int:
        """A client has disconnected: its work counts for its address until it is done.

        If the work left behind from one address exceeds what one client may have, the newest of it
        that has not begun is dropped.

        :param drop: drop everything that has not begun.
        :returns: how many pieces of work were dropped.
        """
        with self._lock:
            line = self._lines.pop(owner, None)
            if line is None:
                return 0
            line.leave()
            self._left.add(line)
            if line.full:
                # What comes by the client's next connection may wait for this one.
                line.full = False
                self._go_on(owner)
            gone = line.account
            dropped = self._drop(line, lambda: drop or gone.full(Use.QUEUED))
            self._staff()
            told = self._when_done()
        return _tell(dropped, told)

    def drop_left(self) -> int:
        """Drop the queued work of disconnected clients; returns how many pieces that were."""
        with self._lock:
            dropped = [work for line in list(self._left) for work in self._drop(line, lambda: True)]
            self._staff()
            told = self._when_done()
        return _tell(dropped, told)

    def when_finished(self, func: Callable[[], None]) -> None:
        """Call a function, in any thread, once all work that was submitted is done."""
        with self._lock:
            if self._unfinished:
                self._on_finish = func
                return
        func()

    @property
    def busy(self) -> bool:
        """Whether any work that was submitted is not done yet."""
        return self._unfinished > 0

    # -- with the lock held

    def _new_line(self, owner: WorkOwner | None) -> Line:
        address = None if owner is None else owner.address
        gone = self._gone.get(address)
        if gone is None:
            gone = self._gone[address] = Gone(address, self._total, self._kinds)
        gone.lines += 1
        return Line(owner, Account(self._total) if owner is None else owner.account, gone)

    def _forget(self, line: Line) -> None:
        """Delete a line that has no work left."""
        self._left.discard(line)
        if self._lines.get(line.owner) is line:
            del self._lines[line.owner]
        line.gone.lines -= 1
        if not line.gone.lines:
            del self._gone[line.gone.address]

    def _when_done(self) -> Callable[[], None]:
        """The callback to call, after releasing the lock, if all work is done."""
        told = None
        if not self._unfinished:
            told, self._on_finish = self._on_finish, None
        return told or _nothing

    def _drop(self, line: Line, more: Callable[[], bool]) -> list[Work]:
        """Drop a line's queued work, newest first, while ``more()`` is true; returns it."""
        dropped = []
        while line.waiting and more():
            dropped.append(line.waiting.pop())
            line.account.free(Use.QUEUED, dropped[-1].size)
        self._unfinished -= len(dropped)
        if not line.waiting:
            if line.in_turn:
                self._turns.remove(line)
                line.in_turn = False
            if not line.running:
                self._forget(line)
        if line.left:
            self._relieve_held_up(line.gone)
        return dropped

    def _queue_up(self, line: Line) -> None:
        """Queue a line for a thread if it has work and may have one more thread."""
        if not line.waiting or line.in_turn:
            return
        if line.may_have_one_more:
            line.in_turn = True
            self._turns.append(line)
        elif not line.starved and line.gone.account.count(Use.RUNNING):
            line.starved = True
            line.gone.starved.append(line)

    def _relieve(self, line: Line) -> None:
        """Call ``go_on`` for a line that was full and has drained."""
        if line.full and not line.left and line.holds_little:
            line.full = False
            self._go_on(line.owner)

    def _relieve_held_up(self, gone: Gone) -> None:
        """Resume lines that wait because of what disconnected clients of their address occupied."""
        starved = gone.starved
        # One free thread is enough for one line; when none is occupied any more, all may run.
        for _ in range(min(1, len(starved)) if gone.account.count(Use.RUNNING) else len(starved)):
            line = starved.popleft()
            line.starved = False
            self._queue_up(line)
        if gone.roomy:
            while gone.held_up:
                self._relieve(gone.held_up.popleft())

    def _staff(self) -> None:
        """Assign the queued lines to idle or new threads.

        After :meth:`close` idle threads end, and only busy ones take more work.
        """
        while self._may_take_one and not self._closed:
            if self._idle:
                self._idle -= 1
            elif not self._start_thread():
                return
            self._handed.put(self._take())

    def _start_thread(self) -> bool:
        if len(self._threads) >= MOST_THREADS:
            return False
        thread = threading.Thread(target=self._run, name=f"{self._name}-handler", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        # The system allows no more threads: the existing ones take the work.
        except RuntimeError:  # pragma: no cover - needs all threads of the machine
            self._threads.discard(thread)
            if not self._threads:
                raise
            return False
        return True

    @property
    def _may_take_one(self) -> bool:
        """Whether there is work, and what runs for all clients leaves room for it."""
        return bool(self._turns) and self._total.permits(
            Use.RUNNING, self._turns[0].waiting[0].size
        )

    def _take(self) -> tuple[Line, Work]:
        """The oldest work of the line whose turn it is."""
        line = self._turns.popleft()
        line.in_turn = False
        work = line.waiting.popleft()
        line.account.move(work.size, Use.QUEUED, Use.RUNNING)
        line.running += 1
        self._queue_up(line)
        self._relieve(line)
        return line, work

    # -- in the threads

    def _run(self) -> None:
        try:
            while (given := self._wait()) is not None:
                while given is not None:
                    line, work = given
                    given = None
                    size = work.size
                    try:
                        work.func(*work.args)
                    finally:
                        del work
                        self._finish(line, size)
                    del line  # an idle thread would keep its client
                    given = self._following()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
                if not self._closed:
                    self._staff()  # a handler raised SystemExit: start another thread if needed

    def _wait(self) -> tuple[Line, Work] | None:
        while True:
            try:
                return self._handed.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    # Work may have been assigned to this thread since its time-out.
                    if self._handed.qsize() == 0:
                        self._idle -= 1
                        return None

    def _finish(self, line: Line, size: int) -> None:
        with self._lock:
            line.running -= 1
            line.account.free(Use.RUNNING, size)
            self._queue_up(line)
            self._relieve(line)
            if line.left:
                self._relieve_held_up(line.gone)
                self._staff()
            if not line.running and not line.waiting:
                self._forget(line)
            self._unfinished -= 1
            told = self._when_done()
        told()

    def _following(self) -> tuple[Line, Work] | None:
        with self._lock:
            if self._may_take_one:
                taken = self._take()
                self._staff()  # what has ended may leave room for more than one
                return taken
            self._idle += 1
            return None

    def close(self, timeout: float = 0.0) -> None:
        """Accept no more work, and give the rest ``timeout`` seconds to be done."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
            for _ in threads:
                self._handed.put(None)
        deadline = time.monotonic() + timeout
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            # Work that has not begun by now is dropped.
            self._turns.clear()
            for line in (*self._lines.values(), *self._left):
                line.in_turn = False
                self._drop(line, lambda: True)

    def __contains__(self, thread: threading.Thread) -> bool:
        return thread in self._threads


def _nothing() -> None:
    """Do nothing: nobody is to be told."""


def _tell(dropped: list[Work], told: Callable[[], None]) -> int:
    """Tell of work that was dropped, and whoever waits for all of it to be done."""
    for work in dropped:
        work.on_drop()
    told()
    return len(dropped)
