"""How many tasks the frames of one client may start in one iteration of the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

#: Tasks that the frames of one client may start in one iteration of the loop.
MOST_STARTS = 128
#: Clients that go on in one iteration, of those that were held up in an earlier one.
_MOST_CLIENTS = 4


class Starter(Protocol):
    """A client of which frames start tasks."""

    def begin(self) -> None:
        """Defer the client's next frames."""

    def idle(self) -> None:
        """Stop deferring them, as far as this reason goes."""


class Turns:
    """Spreads the tasks that many small frames start over iterations of the loop.

    One read holds up to 9,000 frames. If each starts a task, that takes the better part of a
    second, in which no other client is served. Runs on the loop's thread.

    :param call_soon: calls a function in the next iteration.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._started: dict[Starter, int] = {}
        self._held_up: deque[Starter] = deque()
        self._scheduled = False

    def count(self, starter: Starter) -> None:
        """A frame of a client has started a task."""
        started = self._started[starter] = self._started.get(starter, 0) + 1
        if started == MOST_STARTS:
            starter.begin()
            self._held_up.append(starter)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._scheduled = False
        self._started.clear()
        for _ in range(min(len(self._held_up), _MOST_CLIENTS)):
            self._held_up.popleft().idle()
        if self._held_up and not self._scheduled:
            self._schedule()
