"""The graceful shutdown of a server.

New clients are no longer admitted, running handlers may end, ``$DISCONN$`` is sent to all clients,
and their queues drain. Each of these steps has a time limit.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from hisock._core.goodbyes import build_goaway
from hisock._runtime.patience import within
from hisock._server.connection import LINGER_SECONDS, Connection
from hisock._server.listener import Listener
from hisock._server.turnaway import Turnaway
from hisock.exceptions import ClientDisconnected

if TYPE_CHECKING:
    from hisock._server.hub import Hub

#: Seconds that the clients' queues have to drain if no time-out was given.
SHUTDOWN_SECONDS = 2.0
#: Seconds that cancelled async handlers have to clean up.
_CLEANUP_SECONDS = 2.0
#: Seconds that queues have to drain at least, even if handlers have used up the time-out.
_FAREWELL_SECONDS = 0.5
#: Seconds between two polls of the kernel's send queues, for which there is no notification.
_LOOK_SECONDS = 0.05
#: Seconds to wait at most in one call, since loops take no infinite time-out.
_LONG = 60.0
_NEVER = float("inf")


class Shutdown:
    """The shutdown of one server.

    Everything here runs on the loop's thread, except :meth:`request`.

    :ivar asked: whether the server is to close.
    :ivar begun: whether it has begun to.
    :ivar final: whether clients are told not to come back.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.requested = False
        self.begun = False
        self.final = hub.options.restart_after is None
        self._by = _NEVER
        # Whether running handlers are cancelled at once.
        self._at_once = False
        self._changed = asyncio.Event()
        self._turnaways: list[Turnaway] = []

    def request(self, timeout: float | None) -> None:
        """Request a shutdown, or shorten one that is under way. From any thread.

        :param timeout: seconds that it may take; ``None`` cancels running handlers at once, unless
            an earlier request gave them time.
        """
        if timeout is not None:
            self._by = min(self._by, time.monotonic() + timeout)
        elif not self.requested:
            self._at_once = True
        self.requested = True

    @property
    def at_once(self) -> bool:
        """Whether running handlers are cancelled at once. From any thread."""
        return self._at_once

    def wake(self) -> None:
        """Recheck the conditions that the shutdown waits for."""
        self._changed.set()

    def _wake_soon(self) -> None:
        self._hub.thread.post(self.wake)

    def turn_away(self, turnaway: Turnaway) -> bool:
        """Let it answer until the end; returns whether it can."""
        began = turnaway.start()
        if began:
            self._turnaways.append(turnaway)
        return began

    async def run(self, listeners: list[Listener]) -> None:
        """Shut down. However often this is cancelled, no client and no handler is left behind."""
        backplane = self._hub.broadcast.backplane
        try:
            await _close_all(listeners)
        except asyncio.CancelledError:
            self._at_once, self._by = True, time.monotonic()  # nothing is given more time
            raise
        finally:
            try:
                await self._end()
            finally:
                if backplane is not None:
                    await backplane.close()

    async def _end(self) -> None:
        """End everything, once no new connections come."""
        hub = self._hub
        self.begun = True
        try:
            hub.admission.close()
            hub.ticks.end()
            hub.events.end()
            hub.runner.concurrency.close()
            await self._let_handlers_end()
            await hub.tasks.cancel(_CLEANUP_SECONDS)
            # Threads cannot be cancelled, so those that wait for a frame get an exception.
            hub.events.waiting.close(ClientDisconnected("the server is closed"))
            await self._say_goodbye()
        finally:
            # Some connections are left after a time-out, and all if this coroutine is cancelled.
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
                tasks.when_finished(self._wake_soon)
            if workers.busy:
                workers.when_finished(self._wake_soon)
            await self._wait(left)

    async def _wait(self, seconds: float) -> None:
        """Wait until :meth:`wake`, or for so many seconds."""
        try:
            await within(min(seconds, _LONG), self._changed.wait())
        except asyncio.TimeoutError:
            pass

    def goodbye(self, connection: Connection) -> bytes:
        """The last frame for a client."""
        hub = self._hub
        seconds = hub.options.restart_after
        if self.final or seconds is None or not connection.knows("goaway"):
            return hub.frames.goodbye
        return build_goaway(seconds, hub.header_len)

    async def _say_goodbye(self) -> None:
        """Say goodbye, and wait until clients have taken it, and everything before it."""
        hub = self._hub
        began = time.monotonic()
        hub.receipts.flush()
        hub.say_goodbye()
        #: When the kernel had nothing more to send to each connection.
        drained: dict[Connection, float] = {}
        while hub.connections and (now := time.monotonic()) < self._farewell_ends(began):
            for connection in list(hub.connections):
                if connection.writer.backlog() or connection.writer.unsent():
                    drained.pop(connection, None)
                elif connection not in drained:
                    drained[connection] = now
                    connection.writer.close_if_no_eof()
                elif now - drained[connection] >= LINGER_SECONDS:
                    connection.abort()
            self._changed.clear()
            await self._wait(_LOOK_SECONDS)

    def _farewell_ends(self, began: float) -> float:
        """When connections that have not drained are aborted."""
        if self._at_once and self._by == _NEVER:
            return began + SHUTDOWN_SECONDS
        return max(self._by, began + _FAREWELL_SECONDS)


async def _close_all(listeners: list[Listener]) -> None:
    """Close them in turn, and only then raise what has gone wrong.

    A cancellation has to wait for that, which takes a few iterations of the loop: a listener that
    is not closed would bring connections that nothing ends.
    """
    problem: BaseException | None = None
    for listener in listeners:
        closing = asyncio.ensure_future(listener.close())
        while not closing.done():
            try:
                await asyncio.wait({closing})
            except asyncio.CancelledError as exc:
                problem = exc
        try:
            closing.result()
        except BaseException as exc:
            problem = problem or exc
    if problem is not None:
        raise problem
