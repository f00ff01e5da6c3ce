"""Long timers of a loop that another thread watches.

While a loop has a timer, each wait for its sockets is one with a time-out, for which the kernel
sets a timer of its own and takes it back: up to a twentieth of what a message that comes alone
costs a server. So timers of seconds are kept here, and an idle loop has none.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import NamedTuple

#: Seconds from which on a timer is a long one. It is late by up to the interval of the looks.
LONG = 1.0


def wanted(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop gains by it, and its time is that of the system.

    Those of libuv. Of asyncio's own, tests and simulations often replace the clock.
    """
    clock = next(kind for kind in type(loop).__mro__ if "time" in vars(kind))
    return clock.__module__.partition(".")[0] in ("uvloop", "winloop")


class LongTimer(NamedTuple):
    """A function that is to be called.

    :ivar due: when, in seconds of a clock that only goes forward.
    :ivar number: the order of those that are due at the same time.
    :ivar context: that of who wanted it.
    """

    due: float
    number: int
    func: Callable[[], None]
    context: Context


class LongTimers:
    """Functions that are to be called, in the order in which they are due.

    There is no lock: a finalizer might run while it is held, and wait for the other thread.
    """

    def __init__(self) -> None:
        self._new: deque[LongTimer] = deque()
        #: A heap, of the watching thread only.
        self._waiting: list[LongTimer] = []
        self._numbers = itertools.count()

    def add(self, due: float, func: Callable[[], None]) -> None:
        """Keep a function until a time. From any thread."""
        self._new.append(LongTimer(due, next(self._numbers), func, copy_context()))

    def take(self, now: float) -> list[LongTimer]:
        """Those that are due. From the watching thread, at short intervals."""
        waiting = self._waiting
        while self._new:
            heapq.heappush(waiting, self._new.popleft())
        due = []
        while waiting and waiting[0].due <= now:
            due.append(heapq.heappop(waiting))
        return due
