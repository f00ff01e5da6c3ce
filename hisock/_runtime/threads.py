"""Threads for ``threaded=True`` handlers: reused when idle, started when all are busy.

``concurrent.futures`` has such a pool, but its threads keep a program alive until their work is
done; a handler may well wait for input for ever, so these are daemon threads, as in 2.0.2.

On a server the work of each client stands in a line of its own. One client gets a share of the
threads, not all of them, and threads that come free go round the lines.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

#: Seconds after which a thread without work ends.
IDLE_SECONDS = 10.0
#: Threads at most; work beyond that waits, so that a peer cannot start threads without end.
MOST_THREADS = 256
#: How many of them one client may have.
FAIR_SHARE = MOST_THREADS // 4
#: Work of one client that may wait for a thread, before no more is taken from it.
WAITING_WORK = 4096
#: And bytes of the messages that it is about.
WAITING_BYTES = 4 * 1024 * 1024


class _Work(NamedTuple):
    func: Callable[..., Any]
    args: tuple[Any, ...]
    size: int


class _Line:
    """The work of one client.

    :ivar owner: the client; ``None`` for what is of no client.
    :ivar share: how many threads may be at it.
    :ivar running: how many are.
    :ivar waiting: what waits for a thread, oldest first; ``waiting_bytes`` are its messages'.
    :ivar in_turn: whether it waits for the next thread that comes free.
    :ivar full: whether its owner was told that too much waits.
    """

    __slots__ = ("full", "in_turn", "owner", "running", "share", "waiting", "waiting_bytes")

    def __init__(self, owner: Hashable | None) -> None:
        self.owner = owner
        self.share = MOST_THREADS if owner is None else FAIR_SHARE
        self.running = 0
        self.waiting: deque[_Work] = deque()
        self.waiting_bytes = 0
        self.in_turn = False
        self.full = False

    def holds(self, work: int, size: int) -> bool:
        """Whether more than so much waits."""
        return len(self.waiting) > work or self.waiting_bytes > size


class Threads:
    """A pool of daemon threads. A handler that blocks holds up no other, up to the bound.

    :param name: prefix of the threads' names.
    :param go_on: called with an owner, in any thread, when little waits again of one that
        :meth:`submit_for` called full.
    """

    def __init__(self, name: str, go_on: Callable[[Any], None] = lambda owner: None) -> None:
        self._name = name
        self._go_on = go_on
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        # What a thread that was idle, or is new, is to do; ``None`` ends it.
        self._handed: SimpleQueue[tuple[_Line, _Work] | None] = SimpleQueue()
        self._lines: dict[Hashable | None, _Line] = {}
        # The lines that have work and may have another thread; each gets one in turn.
        self._turns: deque[_Line] = deque()
        self._unfinished = 0
        self._on_finish: Callable[[], None] | None = None
        self._closed = False

    def submit(self, func: Callable[..., Any], *args: Any) -> None:
        """Run ``func(*args)`` in a thread; it has to deal with its own errors."""
        self.submit_for(None, 0, func, *args)

    def submit_for(
        self, owner: Hashable | None, size: int, func: Callable[..., Any], *args: Any
    ) -> bool:
        """The same on behalf of a client, which shares the threads with others.

        :param owner: the client; ``None`` for no client, which may have all threads.
        :param size: bytes to account for while it waits.
        :returns: whether too much waits from now on; ``go_on(owner)`` follows when it no longer
            does.
        """
        with self._lock:
            if self._closed:
                return False
            line = self._lines.get(owner)
            if line is None:
                line = self._lines[owner] = _Line(owner)
            line.waiting.append(_Work(func, args, size))
            line.waiting_bytes += size
            self._unfinished += 1
            self._queue_up(line)
            self._staff()
            if line.full or owner is None or not line.holds(WAITING_WORK, WAITING_BYTES):
                return False
            line.full = True
            return True

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

    def _queue_up(self, line: _Line) -> None:
        """Have a line wait for a thread, if it has work and may have one more."""
        if line.waiting and not line.in_turn and line.running < line.share:
            line.in_turn = True
            self._turns.append(line)

    def _staff(self) -> None:
        """Give the lines in turn to threads that are idle, or new."""
        while self._turns:
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

    def _take(self) -> tuple[_Line, _Work]:
        """The oldest work of the line whose turn it is."""
        line = self._turns.popleft()
        line.in_turn = False
        work = line.waiting.popleft()
        line.waiting_bytes -= work.size
        line.running += 1
        self._queue_up(line)
        if line.full and not line.holds(WAITING_WORK // 2, WAITING_BYTES // 2):
            line.full = False
            self._go_on(line.owner)
        return line, work

    # -- in the threads

    def _run(self) -> None:
        try:
            while (given := self._wait()) is not None:
                while given is not None:
                    line, work = given
                    given = None
                    try:
                        work.func(*work.args)
                    finally:
                        del work
                        self._finish(line)
                    given = self._following()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
                if not self._closed:
                    self._staff()  # a handler ended this thread; another takes its place

    def _wait(self) -> tuple[_Line, _Work] | None:
        while True:
            try:
                return self._handed.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    # Work may have been meant for this thread since it gave up waiting.
                    if self._handed.qsize() == 0:
                        self._idle -= 1
                        return None

    def _finish(self, line: _Line) -> None:
        told: Callable[[], None] | None = None
        with self._lock:
            line.running -= 1
            self._queue_up(line)
            if not line.running and not line.waiting and self._lines.get(line.owner) is line:
                del self._lines[line.owner]
            self._unfinished -= 1
            if not self._unfinished:
                told, self._on_finish = self._on_finish, None
        if told is not None:
            told()

    def _following(self) -> tuple[_Line, _Work] | None:
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
            for line in self._lines.values():
                self._unfinished -= len(line.waiting)
                line.waiting.clear()

    def __contains__(self, thread: threading.Thread) -> bool:
        return thread in self._threads
