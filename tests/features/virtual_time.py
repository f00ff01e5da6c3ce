"""An event loop whose clock jumps: an hour of ticks takes as long as the work that they do."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timer, it moves the clock to it, unless a socket is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on a clock of its own.

    :ivar after_each_turn: called after each iteration.
    :ivar now: the time of the loop, in seconds; a handler that "takes long" adds to it.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self.after_each_turn: Callable[[], object] = lambda: None

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        self.after_each_turn()

    def time(self) -> float:
        return self._jumping.now

    def take(self, seconds: float) -> None:
        """What a handler does that keeps the loop for so long."""
        self._jumping.now += seconds
