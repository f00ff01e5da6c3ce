"""The keepalive: whether clients of which nothing is heard are still there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisock._core import protocol
from hisock._server.admission import SECOND_LOOK
from hisock.framing import fan_out

if TYPE_CHECKING:
    from hisock._server.hub import Hub


class Keepalive:
    """Asks all clients of a server at intervals, and ends those that are silent.

    Whatever a client sends counts as an answer.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def start(self) -> None:
        """Ask for the first time one interval from now."""
        self._hub.thread.later(self._hub.options.keepalive_interval, self._ask)

    def _ask(self) -> None:
        hub = self._hub
        for connection in hub.registry:
            connection.alive = False
        frame = protocol.build_reserved(protocol.KEEPALIVE, header_len=hub.header_len)
        fan_out(hub.registry.everyone, frame)
        hub.thread.later(hub.options.keepalive_timeout, self._time_is_over)

    def _time_is_over(self) -> None:
        # An answer may have come while a handler kept the loop; then it is read before the second
        # look.
        self._hub.thread.later(SECOND_LOOK, self._end_silent)

    def _end_silent(self) -> None:
        seconds = self._hub.options.keepalive_timeout
        for connection in self._hub.registry:
            if not connection.alive and not connection.waits_for_us:
                connection.fail("keepalive", f"no answer to the keepalive within {seconds:g} s")
        self.start()
