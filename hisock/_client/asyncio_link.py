"""One connection of an asynchronous client."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from hisock._core.jobs import RawFrame
from hisock.exceptions import ConnectionLost, FramingError
from hisock.framing import Decoder


class Listener(Protocol):
    """Who is told of what comes."""

    def received(self, stream: Stream, frames: list[RawFrame]) -> None:
        """Frames have come."""

    def lost(self, stream: Stream, reason: ConnectionLost) -> None:
        """The connection has ended."""


class Stream(asyncio.BufferedProtocol):
    """One connection of a client: passes on what its loop tells, while it is the current one."""

    transport: asyncio.Transport

    def __init__(self, client: Listener, header_len: int, max_message_size: int) -> None:
        self._client = client
        self._decoder = Decoder(header_len, max_message_size)
        # As in Connection: the loop asks the decoder itself.
        self.get_buffer = self._decoder.get_buffer  # type: ignore[method-assign,assignment]
        self.writable = asyncio.Event()
        self.writable.set()
        self.gone = asyncio.Event()
        self._broken: ConnectionLost | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def buffer_updated(self, nbytes: int) -> None:
        if self._broken is not None:
            return
        try:
            frames = self._decoder.buffer_updated(nbytes)
        except FramingError:
            frames = []
        if frames:
            self._client.received(self, frames)
        if self._decoder.error is not None:
            self._broken = ConnectionLost(
                f"the server sent what is no frame: {self._decoder.error}"
            )
            self.transport.abort()

    def eof_received(self) -> None:
        return None

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        self.writable.set()
        reason = self._broken
        if reason is None and exc is not None:
            reason = ConnectionLost(f"the connection to the server ended: {exc}")
        self._client.lost(self, reason or ConnectionLost("the server closed the connection"))
