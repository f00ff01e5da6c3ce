"""Threads for ``threaded=True`` handlers: reused when idle, started when all are busy.

``concurrent.futures`` has such a pool, but its threads keep a program alive until their work is
done; a handler may well wait for input for ever, so these are daemon threads, as in 2.0.2.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

Work = tuple[Callable[..., Any], tuple[Any, ...]]

#: Seconds after which a thread without work ends.
IDLE_SECONDS = 10.0
#: Threads at most; work beyond that waits, so that a peer cannot start threads without end.
MOST_THREADS = 256


class Workers:
    """A pool of daemon threads. A handler that blocks holds up no other, up to the bound.

    :param name: prefix of the threads' names.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        # Work that waits for a thread to come free.
        self._backlog = 0
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def submit(self, func: Callable[..., Any], *args: Any) -> None:
        """Run ``func(*args)`` in a thread; it has to deal with its own errors."""
        with self._lock:
            if self._closed:
                return
            if self._idle:
                self._idle -= 1
            elif len(self._threads) >= MOST_THREADS:
                self._backlog += 1
            else:
                thread = threading.Thread(target=self._run, name=f"{self._name}-handler")
                thread.daemon = True
                self._threads.add(thread)
                thread.start()
            self._work.put((func, args))

    def _run(self) -> None:
        try:
            while (work := self._next()) is not None:
                work[0](*work[1])
                del work
                with self._lock:
                    if self._backlog:
                        self._backlog -= 1
                    else:
                        self._idle += 1
        finally:
            self._threads.discard(threading.current_thread())

    def _next(self) -> Work | None:
        while True:
            try:
                return self._work.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    # Work may have been meant for this thread since it gave up waiting.
                    if self._work.qsize() == 0:
                        self._idle -= 1
                        return None

    def close(self, timeout: float = 0.0) -> None:
        """End the idle threads, and give the busy ones ``timeout`` seconds to finish."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
            for _ in threads:
                self._work.put(None)
        deadline = time.monotonic() + timeout
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def __contains__(self, thread: threading.Thread) -> bool:
        return thread in self._threads
