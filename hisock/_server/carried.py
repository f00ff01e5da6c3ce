"""The transport below a connection, and the account of what the connection occupies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from hisock._core.account import Use
from hisock._core.client_info import ClientInfo
from hisock._core.http import HttpRequest
from hisock._runtime import loops
from hisock._server.on_demand import OnDemand

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.flushing import Flushing
    from hisock._server.writer import Writer

#: A member of an enumeration is found slowly.
_PARTIAL = Use.PARTIAL


class Carried(OnDemand):
    """The part of a connection that knows its transport, whatever that is."""

    __slots__ = ("_transport",)

    writer: Writer
    _flushing: Flushing
    features: frozenset[str] | None
    _transport: asyncio.Transport

    @property
    def socket(self) -> Any:
        """The socket under the transport; ``None`` where there is none."""
        return self.writer.socket or self._transport.get_extra_info("socket")

    @property
    def made(self) -> bool:
        """Whether it has a transport; before that, the TLS handshake is under way."""
        return hasattr(self, "_transport")

    @property
    def ended(self) -> bool:
        """Whether nothing of it is handled any more."""
        return self._ended

    def knows(self, feature: str) -> bool:
        """Whether the client's hello lists a protocol feature."""
        return self.features is not None and feature in self.features

    def admitted(self) -> None:
        """The client is admitted: its frames wait for handlers, and reads may be long."""
        super().admitted()
        self._decoder.short_reads = False

    def move(self, transport: asyncio.Transport, addr: tuple[str, int]) -> None:
        """Continue over another transport, with the client's address as that tells it."""
        self._transport = transport
        self.writer.start(transport)
        if addr != self.info.addr:
            before = self.info.addr[0]
            self.info = ClientInfo(addr)
            self.hub.admission.address_changed(cast("Connection", self), before)

    def take_turns(self, filled: bool) -> None:
        """Let others have their turn, after a read of its transport that has brought much.

        :param filled: it filled its buffer, so that more waits to be read.
        """
        if not self._ended and (filled or self._flushing.queue):
            self._flushing.read_in_turn(cast("Connection", self))

    def set_reading(self, reading: bool) -> None:
        """Resume or pause reading; called by :class:`hisock._core.pausing.Pauses`."""
        loops.set_reading(self._transport, reading)

    def hold(self, held: int) -> None:
        """Account for the memory that an incomplete frame occupies."""
        if not self._ended:
            self.held = held
            if (self._account or self.account).set(_PARTIAL, held):
                self._free_memory()

    def hold_below(self, size: int) -> None:
        """Account for the bytes of a WebSocket message that has arrived in part."""
        if not self._ended and self.account.set(Use.WEBSOCKET, size):
            self._free_memory()

    def _free_memory(self) -> None:
        self.hub.backpressure.free_memory(cast("Connection", self))

    @property
    def address(self) -> str:
        """The IP address that limits per address count it for."""
        return self.info.addr[0]

    @property
    def addr(self) -> tuple[str, int]:
        """The client's address."""
        return self.info.addr

    @property
    def http_request(self) -> HttpRequest | None:
        """The request that opened its WebSocket, if it is one."""
        request: HttpRequest | None = self._transport.get_extra_info("http_request")
        return request

    def explain(self, kind: str, reason: str) -> None:
        """Let a transport that can tell its client know why the connection ends."""
        say = getattr(self._transport, "explain", None)
        if say is not None:
            say(kind, reason)
