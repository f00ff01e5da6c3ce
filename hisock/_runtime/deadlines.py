"""Time-outs of many that wait equally long, by one timer of the loop.

A timer for each call, which is cancelled when its reply comes, costs a tenth of the call.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Final, Protocol

#: Lengths of time that have such a timer at once. A timer goes on after the last that waited has
#: got what it waits for, so programs that compute a time for each wait must not make one for each.
MOST_LENGTHS: Final = 16


class Expiring(Protocol):
    """What waits."""

    def expire(self) -> None:
        """Its time is over."""


class Deadlines:
    """The deadlines of those who wait on one loop. On its thread only."""

    __slots__ = ("_loop", "_timers", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        #: By how long they wait: each with its deadline, the earliest first.
        self._waiting: dict[float, dict[Expiring, float]] = {}
        self._timers: dict[float, asyncio.TimerHandle] = {}

    def add(self, waiter: Expiring, seconds: float) -> bool:
        """Expire it after so many seconds; ``False`` if it needs a timer of its own."""
        deadline = self._loop.time() + seconds
        line = self._waiting.get(seconds)
        if line is None:
            if not seconds > 0 or (len(self._waiting) >= MOST_LENGTHS and not self._make_room()):
                return False
            self._look_at(deadline, seconds)
            line = self._waiting[seconds] = {}
        line[waiter] = deadline
        return True

    def _make_room(self) -> bool:
        """Give up the timer of a length for which nobody waits; the oldest of them, if any."""
        for seconds, line in self._waiting.items():
            if not line:
                del self._waiting[seconds]
                self._timers.pop(seconds).cancel()
                return True
        return False

    def remove(self, waiter: Expiring, seconds: float) -> None:
        """It waits no longer."""
        line = self._waiting.get(seconds)
        if line is not None:
            line.pop(waiter, None)

    def _look_at(self, deadline: float, seconds: float) -> None:
        # In a context of its own: that of the first that waits would be kept while others do.
        timer = self._loop.call_at(deadline, self._look, seconds, deadline, context=Context())
        self._timers[seconds] = timer

    def _look(self, seconds: float, due: float) -> None:
        # A loop may call a little early; on a clock that stands still it would do so for ever.
        line, now = self._waiting[seconds], max(self._loop.time(), due)
        while line:
            waiter, deadline = next(iter(line.items()))
            if deadline > now:
                self._look_at(deadline, seconds)
                return
            del line[waiter]
            waiter.expire()
        del self._waiting[seconds], self._timers[seconds]
