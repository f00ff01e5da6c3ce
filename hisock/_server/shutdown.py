"""The end of a server, in order.

Nobody new is let in, handlers that run may end, what waits for clients is written, all are told
goodbye. Each of these steps has a bound.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from hisock._core import protocol
from hisock._core.goodbyes import build_goaway
from hisock._server.connection import LINGER_SECONDS, Connection
from hisock._server.turnaway import Turnaway
from hisock.exceptions import ClientDisconnected

if TYPE_CHECKING:
    from hisock._server.hub import Hub

#: Seconds that clients have to take what waits for them, where nobody said how long it may take.
SHUTDOWN_SECONDS = 2.0
#: Seconds that async handlers which are cancelled have to clean up.
_CLEANUP_SECONDS = 2.0
#: Seconds that they have at the least, when handlers have used up the time.
_FAREWELL_SECONDS = 0.5
#: Seconds between two looks at what the system has yet to send. It tells nobody when that changes.
_LOOK_SECONDS = 0.05
#: Seconds to wait for anything at once; loops take no infinite time.
_LONG = 60.0
_NEVER = float("inf")


class Shutdown:
    """The closing of one server.

    Everything here runs on the loop's thread, except :meth:`ask`.

    :ivar asked: whether the server is to close.
    :ivar begun: whether it has begun to.
    :ivar final: whether clients are told not to come back.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.asked = False
        self.begun = False
        self.final = hub.options.restart_after is None
        self._by = _NEVER
        # Whether handlers have no time to end by themselves.
        self._at_once = False
        self._changed = asyncio.Event()
        self._turnaways: list[Turnaway] = []

    def ask(self, timeout: float | None) -> None:
        """Close, or, if that is under way, be done sooner. From any thread.

        :param timeout: seconds that it may take; ``None`` for no time for handlers that run, if
            nobody has said otherwise before.
        """
        if timeout is not None:
            self._by = min(self._by, time.monotonic() + timeout)
        elif not self.asked:
            self._at_once = True
        self.asked = True

    @property
    def at_once(self) -> bool:
        """Whether handlers have no time to end by themselves. From any thread."""
        return self._at_once

    def look(self) -> None:
        """Something has changed that may end the waiting sooner."""
        self._changed.set()

    def _look_soon(self) -> None:
        self._hub.thread.post(self.look)

    def turn_away(self, turnaway: Turnaway) -> bool:
        """Let it answer until the end; returns whether it can."""
        began = turnaway.start()
        if began:
            self._turnaways.append(turnaway)
        return began

    async def run(self) -> None:
        """Close, when nobody new is accepted any more."""
        hub = self._hub
        self.begun = True
        try:
            hub.door.close()
            hub.ticks.end()
            hub.events.end()
            await self._let_handlers_end()
            await hub.tasks.cancel(_CLEANUP_SECONDS)
            # Threads cannot be cancelled. Those that wait for a frame are told that none will come.
            hub.events.waiting.close(ClientDisconnected("the server is closed"))
            await self._see_off()
        finally:
            # Some are left when the time is over, and all when this is cancelled.
            hub.tasks.cancel_all()
            for turnaway in self._turnaways:
                turnaway.close()
            for connection in list(hub.connections):
                connection.abort()
        # The transports close on the next iteration of the loop.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _let_handlers_end(self) -> None:
        if self._at_once:
            return
        tasks, workers = self._hub.tasks, self._hub.workers
        while (tasks.busy or workers.busy) and (left := self._by - time.monotonic()) > 0:
            self._changed.clear()
            if tasks.busy:
                tasks.when_finished(self._look_soon)
            if workers.busy:
                workers.when_finished(self._look_soon)
            await self._wait(left)

    async def _wait(self, seconds: float) -> None:
        """Wait for a change, for so long at most."""
        try:
            await asyncio.wait_for(self._changed.wait(), min(seconds, _LONG))
        except asyncio.TimeoutError:
            pass

    def goodbye(self, connection: Connection) -> bytes:
        """The last frame for a client."""
        hub = self._hub
        seconds = hub.options.restart_after
        if self.final or seconds is None or not connection.knows("goaway"):
            return protocol.build_reserved(protocol.DISCONNECT, header_len=hub.header_len)
        return build_goaway(seconds, hub.header_len)

    async def _see_off(self) -> None:
        """Say goodbye, and wait until clients have taken it, and everything before it."""
        hub = self._hub
        began = time.monotonic()
        hub.say_goodbye()
        #: Since when the system has nothing more to send to a client.
        drained: dict[Connection, float] = {}
        while hub.connections and (now := time.monotonic()) < self._farewell_ends(began):
            for connection in list(hub.connections):
                if connection.writer.backlog() or connection.writer.unsent():
                    drained.pop(connection, None)
                elif connection not in drained:
                    drained[connection] = now
                    connection.writer.say_end()
                elif now - drained[connection] >= LINGER_SECONDS:
                    connection.abort()
            self._changed.clear()
            await self._wait(_LOOK_SECONDS)

    def _farewell_ends(self, began: float) -> float:
        """When those clients are given up who have not taken what is written to them."""
        if self._at_once and self._by == _NEVER:
            return began + SHUTDOWN_SECONDS
        return max(self._by, began + _FAREWELL_SECONDS)
