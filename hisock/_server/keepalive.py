"""The keepalive: finds clients whose connection has died silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisock._server.admission import MOST_ENDS, SECOND_LOOK

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub


class Keepalive:
    """Sends keepalives to all clients at intervals, and ends connections that do not answer.

    Anything that a client sends counts as an answer.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def start(self) -> None:
        """Send the first keepalive one interval from now."""
        self._hub.thread.later(self._hub.options.keepalive_interval, self._ask)

    def _ask(self) -> None:
        hub = self._hub
        for connection in hub.registry:
            connection.alive = False
            connection.writer.send_keepalive(hub.frames.keepalive)
        hub.thread.later(hub.options.keepalive_timeout, self._time_is_over)

    def _time_is_over(self) -> None:
        # An answer may have arrived while a handler kept the loop busy; it is read before this
        # second check.
        self._hub.thread.later(SECOND_LOOK, self._end_silent)

    def _end_silent(self) -> None:
        self._hub.thread.spread(self._hub.registry, self._end_if_silent, MOST_ENDS)
        self.start()

    def _end_if_silent(self, connection: Connection) -> None:
        if not connection.alive and not connection.waits_for_us:
            seconds = self._hub.options.keepalive_timeout
            connection.fail("keepalive", f"no answer to the keepalive within {seconds:g} s")
