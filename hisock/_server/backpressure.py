"""Clients for which too much waits, or which hold too much: whose end it is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hisock._server.connection import Connection

if TYPE_CHECKING:
    from hisock._server.hub import Hub

#: Seconds that a thread which sends much waits at most for the loop to write it.
_MOST_DELAY = 0.05


class Backpressure:
    """What one server does about its clients' backlogs.

    Everything here runs on the loop's thread, except :meth:`outbox_full`.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

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

    def too_much_held(self) -> None:
        """Too many bytes of incomplete frames are held: end the connection with the most."""
        hub = self._hub
        worst = max(hub.connections, key=lambda connection: connection.held_in_all)
        reason = (
            f"{hub.buffered} bytes of incomplete frames are held for all clients, the limit is "
            f"{hub.options.max_buffered}; {worst.held_in_all} are of this one"
        )
        hub.leave(worst, "memory", reason, at_once=True)
