"""Long timers of a loop that another thread watches.

While a loop has a timer, each wait for its sockets is one with a time-out, for which the kernel
sets a timer of its own and takes it back: up to a twentieth of what a message that comes alone
costs a server. So timers of seconds are kept here, and an idle loop has none.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable

#: Seconds from which on a timer is a long one. It is late by up to the interval of the looks.
LONG = 1.0


def wanted(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop gains by it, and its time is that of the system.

    Those of libuv. Of asyncio's own, tests and simulations often replace the clock.
    """
    modules = {kind.__module__.partition(".")[0] for kind in type(loop).__mro__}
    return not modules.isdisjoint(("uvloop", "winloop"))


class LongTimers:
    """Functions that are to be called, in the order in which they are due."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def add(self, due: float, func: Callable[[], None]) -> None:
        """Keep a function until a time, in seconds of a clock that only goes forward."""
        with self._lock:
            heapq.heappush(self._waiting, (due, next(self._numbers), func))

    def take(self, now: float) -> list[Callable[[], None]]:
        """The functions that are due. From the watching thread, at short intervals."""
        waiting = self._waiting
        due = []
        with self._lock:
            while waiting and waiting[0][0] <= now:
                due.append(heapq.heappop(waiting)[2])
        return due
