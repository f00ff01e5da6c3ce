"""A clock that a test moves: ticks, keepalives and time-outs without waiting for them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

#: Seconds of real time without any activity after which the clock goes on by itself, so that a test
#: which waits for something that never comes fails by its time-out, and does not hang.
PATIENCE = 2.0


class Clock:
    """The time of the running event loop, which stands still until :meth:`advance`.

    Needs asyncio's own loop. What else runs on that loop sees the same time.

    :raises RuntimeError: no loop runs, or another kind of loop.
    """

    def __init__(self) -> None:
        loop: Any = asyncio.get_running_loop()
        if not hasattr(loop, "_scheduled") or not hasattr(loop, "_ready"):
            raise RuntimeError(
                f"hisock.testing needs asyncio's own event loop, not {type(loop).__name__}"
            )
        self._loop = loop
        self._now: float = loop.time()
        self._active = time.monotonic()
        self._settling = 0
        loop.time = self.time

    def time(self) -> float:
        """The time of the loop, in seconds."""
        idle = time.monotonic() - self._active
        return self._now + max(0.0, idle - PATIENCE)

    def touch(self) -> None:
        """Something happens: the time stands still for as long as that goes on."""
        self._now = self.time()
        self._active = time.monotonic()

    async def advance(self, seconds: float) -> None:
        """Let time pass: everything that is due on the way happens, in order.

        :param seconds: how much.
        :raises ValueError: it is less than 0.
        """
        if not seconds >= 0:
            raise ValueError(f"time goes forward only, not by {seconds!r} seconds")
        self.touch()
        await self.settle()
        target = self._now + seconds
        while (due := self._next_due()) is not None and due <= target:
            self._now = max(self._now, due)
            self._active = time.monotonic()
            await self.settle()
        self._now = max(self._now, target)
        self._active = time.monotonic()
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing happens any more at this moment of the clock."""
        idle = 0
        self._settling += 1
        try:
            while idle < 2:  # once more: an iteration may have received something
                await asyncio.sleep(0)
                # Each other task that waits here is ready as well, and nothing else by that.
                idle = 0 if len(self._loop._ready) >= self._settling else idle + 1
        finally:
            self._settling -= 1

    def _next_due(self) -> float | None:
        whens = [timer.when() for timer in self._loop._scheduled if not timer.cancelled()]
        return min(whens, default=None)

    def restore(self) -> None:
        """Give the loop its own clock back."""
        del self._loop.time
