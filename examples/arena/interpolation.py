"""Smooth movement from twenty views a second: players are shown a moment in the past."""

from __future__ import annotations

from collections import deque

from world import View

DELAY = 0.1  # seconds: two ticks, so that one may come late


class Interpolation:
    """The newest views, and where everybody was between two of them.

    The server's time is met with the client's own when the first view comes; a view that comes
    earlier than any before moves it, since that one waited least on its way.
    """

    def __init__(self, delay: float = DELAY) -> None:
        self._views: deque[View] = deque(maxlen=40)
        self._delay = delay
        self._ahead = float("inf")  # seconds of our clock less the server's

    def take(self, view: View, now: float) -> None:
        """A view that came; ``now`` is the client's clock in seconds."""
        self._views.append(view)
        self._ahead = min(self._ahead, now - view.time)

    def at(self, now: float) -> dict[str, tuple[float, float]]:
        """Where to draw each player."""
        time = now - self._ahead - self._delay
        before, after = self._around(time)
        if before is None or after is None:
            return {}
        spent = after.time - before.time
        part = min(max((time - before.time) / spent, 0.0), 1.0) if spent > 0 else 1.0
        old, new = _places(before), _places(after)
        return {
            name: (
                old.get(name, place)[0] * (1 - part) + place[0] * part,
                old.get(name, place)[1] * (1 - part) + place[1] * part,
            )
            for name, place in new.items()
        }

    def _around(self, time: float) -> tuple[View | None, View | None]:
        before = None
        for view in self._views:
            if view.time > time:
                return before or view, view
            before = view
        return before, before


def _places(view: View) -> dict[str, tuple[float, float]]:
    return {seen.name: (seen.x, seen.y) for seen in (view.me, *view.others)}
