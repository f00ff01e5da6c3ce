"""An event of a loop, for objects of which there are many."""

from __future__ import annotations

import asyncio


class Flag:
    """An :class:`asyncio.Event` that is made when something waits for it: it takes 800 bytes."""

    __slots__ = ("_event", "_set")

    def __init__(self, is_set: bool = False) -> None:
        self._set = is_set
        self._event: asyncio.Event | None = None

    @property
    def is_set(self) -> bool:
        """Whether :meth:`wait` returns at once."""
        return self._set

    def set(self) -> None:
        """Wake all that wait."""
        self._set = True
        if self._event is not None:
            self._event.set()

    def clear(self) -> None:
        """Let those that wait from now on wait for :meth:`set`."""
        self._set = False
        if self._event is not None:
            self._event.clear()

    async def wait(self) -> None:
        """Return at once if it is set, else when it is."""
        if self._set:
            return
        if self._event is None:
            self._event = asyncio.Event()
        await self._event.wait()
