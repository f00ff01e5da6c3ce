"""Threads for ``threaded=True`` handlers: reused when idle, started when all are busy.

``concurrent.futures`` has such a pool, but its threads keep a program alive until their work is
done; a handler may well wait for input for ever, so these are daemon threads, as in 2.0.2.

On a server the work of each client is queued by itself. One client gets a share of the threads,
not all of them, and threads that come free go round the queues. What clients that have gone still
occupy counts for their address, so that coming back gains nothing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from queue import Empty, SimpleQueue
from typing import Any

from hisock._core.account import BOUNDS, Account, Total, Use
from hisock._runtime.work import FAIR_SHARE, MOST_THREADS, Gone, Line, Work, WorkOwner

__all__ = ["FAIR_SHARE", "IDLE_SECONDS", "MOST_THREADS", "WAITING_WORK", "Threads"]

#: Seconds after which a thread without work ends.
IDLE_SECONDS = 10.0
#: Work of one client that may wait for a thread, before no more is taken from it.
WAITING_WORK = BOUNDS[Use.QUEUED].items


class Threads:
    """A pool of daemon threads. A handler that blocks holds up no other, up to the bound.

    :param name: prefix of the threads' names.
    :param go_on: called with an owner, in any thread, when little waits again of one that
        :meth:`submit_for` called full.
    :param total: what the accounts of the owners are counted in.
    """

    def __init__(
        self,
        name: str,
        go_on: Callable[[Any], None] = lambda owner: None,
        total: Total | None = None,
    ) -> None:
        self._name = name
        self._total = Total(0) if total is None else total
        self._go_on = go_on
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        # What a thread that was idle, or is new, is to do; ``None`` ends it.
        self._handed: SimpleQueue[tuple[Line, Work] | None] = SimpleQueue()
        self._lines: dict[WorkOwner | None, Line] = {}
        # By address, while there is work of any of its clients, and lines that have left.
        self._gone: dict[Hashable, Gone] = {}
        self._left: set[Line] = set()
        # The lines that have work and may have another thread; each gets one in turn.
        self._turns: deque[Line] = deque()
        self._unfinished = 0
        self._on_finish: Callable[[], None] | None = None
        self._closed = False

    def submit(self, func: Callable[..., Any], *args: Any) -> None:
        """Run ``func(*args)`` in a thread; it has to deal with its own errors."""
        self.submit_for(None, 0, func, *args)

    def submit_for(
        self, owner: WorkOwner | None, size: int, func: Callable[..., Any], *args: Any
    ) -> bool:
        """The same on behalf of a client, which shares the threads with others.

        :param owner: the client; ``None`` for no client, which may have all threads.
        :param size: bytes to account for until it is done.
        :returns: whether too much waits from now on; ``go_on(owner)`` follows when it no longer
            does.
        """
        with self._lock:
            if self._closed:
                return False
            line = self._lines.get(owner)
            if line is None:
                line = self._lines[owner] = self._new_line(owner)
            line.waiting.append(Work(func, args, size))
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
        """A client has gone: what it has here counts for its address until it is done.

        What is more than one client may have, together with what others from there have left
        behind, is dropped if it has not begun, the newest first.

        :param drop: drop all that has not begun.
        :returns: how much work was dropped.
        """
        with self._lock:
            line = self._lines.pop(owner, None)
            if line is None:
                return 0
            line.leave()
            self._left.add(line)
            gone = line.account
            dropped = self._drop(line, lambda: drop or gone.full(Use.QUEUED))
            self._staff()
            told = self._when_done()
        told()
        return dropped

    def drop_left(self) -> int:
        """Drop what clients that have gone have queued, and return how much work that was."""
        with self._lock:
            dropped = sum(self._drop(line, lambda: True) for line in list(self._left))
            self._staff()
            told = self._when_done()
        told()
        return dropped

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
            gone = self._gone[address] = Gone(address, self._total)
        gone.lines += 1
        return Line(owner, Account(self._total) if owner is None else owner.account, gone)

    def _forget(self, line: Line) -> None:
        """Nothing is left of a line."""
        self._left.discard(line)
        if self._lines.get(line.owner) is line:
            del self._lines[line.owner]
        line.gone.lines -= 1
        if not line.gone.lines:
            del self._gone[line.gone.address]

    def _when_done(self) -> Callable[[], None]:
        """What is to be called, without the lock, if all work is done."""
        told = None
        if not self._unfinished:
            told, self._on_finish = self._on_finish, None
        return told or _nothing

    def _drop(self, line: Line, more: Callable[[], bool]) -> int:
        """Drop the newest work of a line that has not begun, while ``more()`` says so."""
        dropped = 0
        while line.waiting and more():
            line.account.free(Use.QUEUED, line.waiting.pop().size)
            dropped += 1
        self._unfinished -= dropped
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
        """Have a line wait for a thread, if it has work and may have one more."""
        if not line.waiting or line.in_turn:
            return
        if line.may_have_one_more:
            line.in_turn = True
            self._turns.append(line)
        elif not line.starved and line.gone.account.count(Use.RUNNING):
            line.starved = True
            line.gone.starved.append(line)

    def _relieve(self, line: Line) -> None:
        """Tell the owner of a line, if it was told that too much waits, when little does again."""
        if line.full and not line.left and line.holds_little:
            line.full = False
            self._go_on(line.owner)

    def _relieve_held_up(self, gone: Gone) -> None:
        """Less than before is left behind by the clients that have gone from an address."""
        starved = gone.starved
        # A thread that has come free is enough for one line; the last one frees all.
        for _ in range(min(1, len(starved)) if gone.account.count(Use.RUNNING) else len(starved)):
            line = starved.popleft()
            line.starved = False
            self._queue_up(line)
        if gone.roomy:
            while gone.held_up:
                self._relieve(gone.held_up.popleft())

    def _staff(self) -> None:
        """Give the lines in turn to threads that are idle, or new.

        Not once it is closed: then idle threads end, and those that are at work take the turns.
        """
        while self._turns and not self._closed:
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
        except RuntimeError:  # the system has no thread left; those that are there will do it
            self._threads.discard(thread)
            if not self._threads:
                raise
            return False
        return True

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
                    given = self._following()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
                if not self._closed:
                    self._staff()  # a handler ended this thread; another takes its place

    def _wait(self) -> tuple[Line, Work] | None:
        while True:
            try:
                return self._handed.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    # Work may have been meant for this thread since it gave up waiting.
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
            if self._turns:
                return self._take()
            self._idle += 1
            return None

    def close(self, timeout: float = 0.0) -> None:
        """Take no more work, and give what there is ``timeout`` seconds to be done."""
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
            # What has not begun by now never does.
            self._turns.clear()
            for line in (*self._lines.values(), *self._left):
                line.in_turn = False
                self._drop(line, lambda: True)

    def __contains__(self, thread: threading.Thread) -> bool:
        return thread in self._threads


def _nothing() -> None:
    """Nobody is to be told that all work is done."""
