"""A list that several threads append to and that a test waits on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

#: Seconds that a test waits for something before it fails. Long, because it is never spent when
#: the thing happens; a loaded machine must not make a test fail.
PATIENCE = 15.0


class Events:
    """Records what handlers saw, in order.

    >>> events = Events()
    >>> server.on("join")(events.recorder("join", 1))
    >>> events.wait_for("join")
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seen: list[tuple[Any, ...]] = []

    def add(self, *event: Any) -> None:
        with self._changed:
            self._seen.append(event)
            self._changed.notify_all()

    @property
    def seen(self) -> list[tuple[Any, ...]]:
        """A copy of everything recorded so far."""
        with self._changed:
            return list(self._seen)

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """The recorded events of that name, without the name."""
        return [event[1:] for event in self.seen if event[0] == name]

    def wait_until(
        self,
        predicate: Callable[[list[tuple[Any, ...]]], Any],
        timeout: float = PATIENCE,
    ) -> list[tuple[Any, ...]]:
        """Wait until ``predicate(everything seen)`` is true; what was seen then."""
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(self._seen), timeout):
                raise AssertionError(f"did not happen within {timeout} s; seen: {self._seen}")
            return list(self._seen)

    def wait_for(self, *start: Any, count: int = 1, timeout: float = PATIENCE) -> tuple[Any, ...]:
        """Wait for the ``count``-th event that begins with ``start``; that event."""

        def matching(seen: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
            return [event for event in seen if event[: len(start)] == start]

        seen = self.wait_until(lambda seen: len(matching(seen)) >= count, timeout)
        return matching(seen)[count - 1]
