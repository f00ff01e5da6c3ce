"""An event loop in a thread of its own, for blocking programs that use what runs on a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopInThread:
    """A loop that runs in a daemon thread.

    :ivar closed: whether it has been ended.
    """

    def __init__(self, name: str) -> None:
        self.closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, and wait for what it returns or raises. From any thread.

        :raises RuntimeError: the loop has ended.
        """
        if self.closed:
            coroutine.close()
            raise RuntimeError("it is closed")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """End the loop and its thread."""
        if not self.closed:
            self.closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
