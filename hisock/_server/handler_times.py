"""How long handlers take, by command; measured only while somebody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from hisock._core.latencies import Latencies
from hisock._core.middleware import Context, Layer


class HandlerTimes:
    """Counts the durations of handlers; those of threads too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_command: dict[str, Latencies] = {}

    def layer(self) -> Layer:
        """What runs around every handler, and measures it.

        The time of an async handler includes what it waits for; that of a generator does not
        include its parts.
        """

        def plain(context: Context, call_next: Callable[[], Any]) -> Any:
            begun = time.perf_counter()
            try:
                return call_next()
            finally:
                self._add(context.command, time.perf_counter() - begun)

        async def awaited(context: Context, call_next: Callable[[], Any]) -> Any:
            begun = time.perf_counter()
            try:
                return await call_next()
            finally:
                self._add(context.command, time.perf_counter() - begun)

        return Layer(plain, awaited)

    def _add(self, command: str, seconds: float) -> None:
        with self._lock:
            found = self._by_command.get(command)
            if found is None:
                found = self._by_command[command] = Latencies()
            found.add(seconds)

    def figures(self) -> dict[str, dict[str, float]]:
        """Count, mean, p50, p99 and maximum in seconds, by command."""
        with self._lock:
            return {
                command: {
                    "count": found.count,
                    "mean": found.mean,
                    "p50": found.percentile(0.5),
                    "p99": found.percentile(0.99),
                    "max": found.longest,
                }
                for command, found in self._by_command.items()
            }
