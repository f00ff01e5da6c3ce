"""Backpressure: what happens when a client's backlog, or the memory of all, passes its limit."""

from __future__ import annotations

import logging
import threading
from operator import itemgetter
from typing import TYPE_CHECKING

from hisock._core.client_info import ClientInfo
from hisock._core.log_fields import fields
from hisock._core.reporting import LogLimit
from hisock._server.connection import Connection

if TYPE_CHECKING:
    from hisock._server.hub import Hub

logger = logging.getLogger("hisock.server")

#: Seconds at most that a thread which sends much waits for the loop to flush.
_MOST_DELAY = 0.05


class Backpressure:
    """Applies the limits of one server to its clients' backlogs and memory.

    Everything here runs on the loop's thread, except :meth:`outbox_full`.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._log_limit = LogLimit()
        #: Whether on_slow decides about a connection just now.
        self._asking = False
        #: The connections that hold something, the largest last. They are looked for once in an
        #: iteration of the loop, or when all have been ended, since each of a thousand that read
        #: may find that memory is short.
        self._largest: list[Connection] | None = None

    def outbox_full(self, connection: Connection) -> None:
        """An outbox has passed its high-water mark: flush it now. From any thread."""
        if self._hub.thread.is_current():
            connection.writer.relieve()
            return
        # A thread that sends in a tight loop would starve the event loop, so it waits for the
        # flush, but not for long: the event loop may be waiting for the thread.
        written = threading.Event()

        def relieve() -> None:
            if connection.writer.full:
                connection.writer.relieve()
            written.set()

        if self._hub.thread.post(relieve):
            written.wait(_MOST_DELAY)

    def over_limit(self, connection: Connection, backlog: int) -> None:
        """Apply the policy for slow clients: a client's backlog has passed ``send_buffer``."""
        hub = self._hub
        if self._asking:
            return  # what on_slow itself sends, to whichever client, does not ask it once more
        policy = self._policy(connection, backlog)
        if policy not in ("drop", "disconnect"):
            # The policy allows it to wait: ask again when the backlog has grown by as much again.
            connection.outbox.limit = connection.outbox.size + hub.options.send_buffer
            return
        connection.outbox.refusing = True
        if policy == "disconnect":
            reason = f"{backlog} bytes wait for it, the limit is {hub.options.send_buffer}"
            # Not now: a handler may be iterating over its clients, and `leave` removes one.
            hub.loop.call_soon(self._end, connection, reason)

    def _policy(self, connection: Connection, backlog: int) -> str | None:
        """What ``on_slow`` says: disconnect, drop, or ``None`` to wait."""
        on_slow = self._hub.options.on_slow
        if not callable(on_slow):
            return on_slow
        self._asking = True
        try:
            return on_slow(connection.info, backlog)
        except Exception as exc:
            self._hub.runner.report(exc, "on_slow", connection.info)
            return "disconnect"
        finally:
            self._asking = False

    def control_over_limit(self, connection: Connection) -> None:
        """End a client that keeps asking but does not read the answers."""
        limit = self._hub.options.send_buffer
        self._end(connection, f"more than {limit} bytes of answers wait for it")

    def _end(self, connection: Connection, reason: str) -> None:
        self._hub.leave(connection, "slow", reason, at_once=True)

    def free_memory(self, asking: Connection | None = None) -> None:
        """Free memory if received data occupies more than ``max_buffered``.

        :param asking: the connection that has come to hold more.

        First drop the threaded work that disconnected clients have queued; then end the connections
        whose ends free most.
        """
        hub = self._hub
        if hub.memory.over:
            self._note_dropped(hub.workers.drop_left(), "clients that have gone")
        while hub.memory.over and (worst := self._next_largest(asking)) is not None:
            reason = (
                f"{hub.memory.size} bytes that have come are held for all clients, the limit is "
                f"{hub.memory.limit}; {worst.droppable} are of this one"
            )
            hub.leave(worst, "memory", reason, at_once=True)

    def _next_largest(self, asking: Connection | None) -> Connection | None:
        """The connection whose end would free most; ``None`` if none would free anything."""
        worst = self._last_of_largest()
        if worst is None:
            holding = [
                (size, each)
                for each in self._hub.connections
                if not each.ended and (size := each.droppable)
            ]
            if not holding:
                return None
            if self._largest is None:
                self._hub.loop.call_soon(self._forget_largest)
            holding.sort(key=itemgetter(0))
            self._largest = [each for _, each in holding]
            worst = self._largest.pop()
        if asking is None or asking.ended or asking.droppable <= worst.droppable:
            return worst
        # It has grown since they were looked for.
        self._largest = [*(self._largest or ()), worst]
        return asking

    def _last_of_largest(self) -> Connection | None:
        while self._largest:
            worst = self._largest.pop()
            if worst.droppable and not worst.ended:
                return worst
        return None

    def _forget_largest(self) -> None:
        self._largest = None

    def connection_ended(self, connection: Connection, kind: str) -> None:
        """A connection has ended: what it still occupies is counted until it is free.

        :param kind: the kind of end; ``memory`` drops the connection's queued work at once.
        """
        dropped = self._hub.runner.leave(connection, drop=kind == "memory")
        self._note_dropped(dropped, connection.info)

    def _note_dropped(self, count: int, who: ClientInfo | str) -> None:
        if count and self._log_limit.permits(self._hub.loop.time()):
            name = who if isinstance(who, str) else who.shown()
            said = fields("commands_dropped", client=who, withheld=count)
            logger.warning("%d commands of %s were dropped, unhandled", count, name, extra=said)
