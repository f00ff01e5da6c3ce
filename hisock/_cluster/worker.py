"""A worker's side of the connection to its parent."""

from __future__ import annotations

import asyncio
from typing import Protocol

from hisock._cluster.assignment import Assignment
from hisock._cluster.control import Control, ControlMessage


class Stoppable(Protocol):
    """What a hub is here."""

    def stop(self, timeout: float | None = None) -> None: ...


class ParentLine:
    """Tells the parent that the worker serves, and ends the server when the parent is gone.

    A hub takes it as one of its listeners, so that it lives as long as the server runs.
    """

    def __init__(self, part: Assignment) -> None:
        self._part = part
        self._control = Control(self._hear, self._parent_gone)
        self._serving = False
        self._opening: asyncio.Task[None] | None = None
        self._hub: Stoppable

    def start(self, hub: Stoppable) -> None:
        """Connect, on the loop that runs."""
        self._hub = hub
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        await self._control.open(self._part.control_socket())
        if self._serving:
            self._control.send("ready")

    async def close(self) -> None:
        """Go on to the end: the parent may still have to be told of the shutdown."""

    def serving(self) -> None:
        """Clients are being accepted."""
        self._serving = True
        if self._opening is not None and self._opening.done():
            self._control.send("ready")

    def _hear(self, message: ControlMessage) -> None:
        """The parent says something."""

    def _parent_gone(self) -> None:
        # A worker without its parent would be restarted by nobody, and hold the port for ever.
        self._hub.stop()
