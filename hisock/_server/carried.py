"""What carries a connection, and the bytes of it that are held."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from hisock._core.client_info import ClientInfo
from hisock._core.http import HttpRequest
from hisock._core.ordering import Ordering

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub
    from hisock._server.writer import Writer


class Carried(Ordering):
    """The part of a connection that knows of its transport, whatever that is."""

    __slots__ = ("_ended", "_transport", "below", "held", "hub", "info", "writer")

    hub: Hub
    info: ClientInfo
    writer: Writer
    held: int
    below: int
    _ended: bool
    _transport: asyncio.Transport

    def move(self, transport: asyncio.Transport, addr: tuple[str, int]) -> None:
        """Go on over another transport, whose client has this address."""
        self._transport = transport
        self.writer.start(transport)
        if addr != self.info.addr:
            before = self.info.addr[0]
            self.info = ClientInfo(addr)
            self.hub.door.moved(cast("Connection", self), before)

    def hold(self, held: int) -> None:
        """Account for the memory that an incomplete frame occupies."""
        if self._ended:
            return
        self.hub.buffered += held - self.held
        self.held = held
        if self.hub.buffered > self.hub.options.max_buffered:
            self.hub.pressure.too_much_held()

    def hold_below(self, size: int) -> None:
        """Account for the bytes of a WebSocket message that has come in part."""
        if self._ended:
            return
        self.hub.buffered += size - self.below
        self.below = size
        if self.hub.buffered > self.hub.options.max_buffered:
            self.hub.pressure.too_much_held()

    @property
    def held_in_all(self) -> int:
        """Bytes that are held of it, of incomplete frames and below them."""
        return self.held + self.below

    @property
    def addr(self) -> tuple[str, int]:
        """The address that it comes from."""
        return self.info.addr

    @property
    def http_request(self) -> HttpRequest | None:
        """What its WebSocket began with, if it is one."""
        request: HttpRequest | None = self._transport.get_extra_info("http_request")
        return request

    def explain(self, kind: str, reason: str) -> None:
        """Let a transport that can tell its client know why the connection ends."""
        say = getattr(self._transport, "explain", None)
        if say is not None:
            say(kind, reason)
