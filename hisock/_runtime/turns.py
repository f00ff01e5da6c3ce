"""How much of the work of many small frames is done in one iteration of the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from time import perf_counter
from typing import Protocol

#: Frames of one client that start tasks, are calls, or change names, handled in one iteration.
MOST_FRAMES = 128
#: The same of all clients together. What they have beyond that goes on in later iterations.
MOST_OF_ALL = 4 * MOST_FRAMES
#: Seconds that one iteration spends on reads of many frames, or on frames that cost much.
MOST_SECONDS = 0.005
#: Clients that go on in one iteration, of those that were held up in an earlier one.
_MOST_CLIENTS = 4
#: Parts of replies that are sent in one iteration, to all clients together.
MOST_PARTS = 64


class Starter(Protocol):
    """A client whose frames cost more than to call a function."""

    def begin(self) -> None:
        """Defer the client's next frames."""

    def idle(self) -> None:
        """Stop deferring them, as far as this reason goes."""


class Turns:
    """Spreads what many small frames of a client cost over iterations of the loop.

    One read holds up to 9,000 frames. If each starts a task, that takes the better part of a
    second, in which no other client is served. Runs on the loop's thread.

    :param call_soon: calls a function in the next iteration.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._counts: dict[Starter, int] = {}
        self._total = 0
        self._seconds = 0.0
        #: When this iteration has taken long enough.
        self._ends = 0.0
        #: Clients that are held up; a dict keeps their order.
        self._held_up: dict[Starter, None] = {}
        self._scheduled = False

    def count(self, starter: Starter) -> None:
        """A frame of a client costs more than most do."""
        count = self._counts[starter] = self._counts.get(starter, 0) + 1
        self._total += 1
        if not self._scheduled:
            self._schedule()
        if count >= MOST_FRAMES or self._total >= MOST_OF_ALL or perf_counter() > self._ends:
            self.hold_up(starter)

    def hold_up(self, starter: Starter) -> None:
        """Defer a client's next frames until it is its turn again."""
        if starter not in self._held_up:
            self._held_up[starter] = None
            starter.begin()
        if not self._scheduled:
            self._schedule()

    def leave(self, starter: Starter) -> None:
        """A client has ended: it does not wait for its turn any more, if it did.

        Those that are thrown out may be many more than those that have their turn.
        """
        if starter in self._held_up:
            del self._held_up[starter]
            # Not now: the client's next connection may wait for it.
            self._call_soon(starter.idle)

    def spend(self, seconds: float) -> None:
        """A part of a read of many frames has taken that long."""
        self._seconds += seconds
        if not self._scheduled:
            self._schedule()

    @property
    def used_up(self) -> bool:
        """Whether this iteration has spent enough time on reads of many frames, or on what costs
        much: then the clients that it held up would only defer their frames one by one."""
        if self._seconds > MOST_SECONDS:
            return True
        return self._scheduled and bool(self._counts) and perf_counter() > self._ends

    @property
    def behind(self) -> bool:
        """Whether clients wait for their turn."""
        return bool(self._held_up)

    def _schedule(self) -> None:
        self._scheduled = True
        self._ends = perf_counter() + MOST_SECONDS
        self._call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._scheduled = False
        self._counts.clear()
        self._total = 0
        self._seconds = 0.0
        ends = self._ends = perf_counter() + MOST_SECONDS
        for starter in list(islice(self._held_up, _MOST_CLIENTS)):
            if starter not in self._held_up:
                continue  # it has ended because of the one before
            del self._held_up[starter]
            starter.idle()
            if perf_counter() > ends:
                break
        if self._held_up and not self._scheduled:
            self._schedule()


class Queue:
    """Lets tasks go on, so many times in one iteration of the loop; those beyond that wait in line.

    :param most: how many times in one iteration.
    """

    def __init__(self, most: int = MOST_PARTS) -> None:
        self._most = self._left = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    async def wait(self) -> None:
        """Wait for the calling task's turn, which may be now."""
        loop = asyncio.get_running_loop()
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._go_on, loop)
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        self._left = self._most
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # a task that was cancelled waits no longer
                turn.set_result(None)
                self._left -= 1
        if self._left < self._most:
            self._scheduled = True
            loop.call_soon(self._go_on, loop)
