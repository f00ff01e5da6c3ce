"""Clients for which too much waits, or which hold too much: whose end it is."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from hisock._core.account import Use
from hisock._core.reporting import LogLimit
from hisock._server.connection import Connection

if TYPE_CHECKING:
    from hisock._server.hub import Hub

#: What is free when a connection ends.
_DROPPABLE = (Use.PARTIAL, Use.WEBSOCKET, Use.DEFERRED, Use.ADMISSION, Use.QUEUED)
logger = logging.getLogger("hisock.server")

#: Seconds that a thread which sends much waits at most for the loop to write it.
_MOST_DELAY = 0.05


class Backpressure:
    """What one server does about its clients' backlogs.

    Everything here runs on the loop's thread, except :meth:`outbox_full`.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._log_limit = LogLimit()

    def outbox_full(self, connection: Connection) -> None:
        """More waits for a client than may: write it now. From any thread."""
        if self._hub.thread.is_current():
            connection.writer.relieve()
            return
        # A thread that sends without end would keep the loop from writing, so it waits for that;
        # not for long, since the loop may wait for the thread.
        written = threading.Event()

        def relieve() -> None:
            if connection.writer.full:
                connection.writer.relieve()
            written.set()

        if self._hub.thread.post(relieve):
            written.wait(_MOST_DELAY)

    def behind(self, connection: Connection, backlog: int) -> None:
        """A client takes less than is sent to it, and too many bytes wait for it."""
        hub = self._hub
        policy = self._policy(connection, backlog)
        if policy not in ("drop", "disconnect"):
            # To be asked again when as much again waits.
            connection.outbox.limit = connection.outbox.size + hub.options.send_buffer
            return
        connection.outbox.refusing = True
        if policy == "disconnect":
            reason = f"{backlog} bytes wait for it, the limit is {hub.options.send_buffer}"
            # Later: a handler may be going through its players, and `leave` takes one away.
            hub.loop.call_soon(self._end, connection, reason)

    def _policy(self, connection: Connection, backlog: int) -> str | None:
        """What the program wants to become of it; ``None`` to wait."""
        on_slow = self._hub.options.on_slow
        if not callable(on_slow):
            return on_slow
        try:
            return on_slow(connection.info, backlog)
        except Exception as exc:
            self._hub.runner.report(exc, "on_slow", connection.info)
            return "disconnect"

    def too_many_answers(self, connection: Connection) -> None:
        """A client asks, is behind, and too many bytes of answers wait for it."""
        limit = self._hub.options.send_buffer
        self._end(connection, f"more than {limit} bytes of answers wait for it")

    def _end(self, connection: Connection, reason: str) -> None:
        self._hub.leave(connection, "slow", reason, at_once=True)

    def free_memory(self) -> None:
        """If too much is held of what has come, drop what can be dropped.

        First what clients that have gone have queued for threads; then the client that holds most
        of what ends with it.
        """
        hub = self._hub
        if hub.memory.over:
            self._note_dropped(hub.workers.drop_left(), "clients that have gone")
        if not hub.memory.over or not hub.connections:
            return
        worst = max(hub.connections, key=_droppable)
        if _droppable(worst):
            reason = (
                f"{hub.memory.size} bytes that have come are held for all clients, the limit is "
                f"{hub.memory.limit}; {_droppable(worst)} are of this one"
            )
            hub.leave(worst, "memory", reason, at_once=True)

    def gone(self, connection: Connection, kind: str) -> None:
        """A client has gone: what it occupies still is counted until it is free.

        :param kind: why, in a word; ``memory`` frees what can be freed at once.
        """
        dropped = self._hub.runner.leave(connection, drop=kind == "memory")
        self._note_dropped(dropped, connection.info.shown())

    def _note_dropped(self, count: int, who: str) -> None:
        if count and self._log_limit.permits(self._hub.loop.time()):
            logger.warning("%d threaded commands of %s were dropped, unhandled", count, who)


def _droppable(connection: Connection) -> int:
    """Bytes that a connection holds, and that are free when it ends."""
    return connection.account.size(*_DROPPABLE)
