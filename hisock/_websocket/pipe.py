"""What both engines share: the transport that a connection writes to, and what feeds it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from hisock._core.http import HttpRequest
from hisock._runtime.accepting import resume_reading
from hisock._runtime.draining import in_transport
from hisock._websocket.closing import close_code, cut

#: Bytes of one WebSocket message at most.
PIECE = 65536
#: Bytes that wait for a client whose pings are not answered any more.
MOST_UNREAD = 65536

#: Bytes in one read after which it is the turn of others that have something to be written.
MUCH = 16384


class Endpoint(Protocol):
    """All that is known here of a connection of the server."""

    @property
    def ended(self) -> bool:
        """Whether nothing of it is handled any more."""

    @property
    def addr(self) -> tuple[str, int]:
        """The address it comes from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has been accepted."""

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Bytes of its stream have come."""

    def take_turns(self, filled: bool) -> None:
        """Much has been read of it; ``filled`` says that more waits to be read."""

    def eof_received(self) -> bool | None:
        """Nothing more comes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Its transport is closed."""

    def pause_writing(self) -> None:
        """Its transport takes no more at the moment."""

    def resume_writing(self) -> None:
        """Its transport takes more again."""

    def move(self, transport: asyncio.Transport, addr: tuple[str, int]) -> None:
        """From now on it writes to this transport, and has this address."""

    def hold_below(self, size: int) -> None:
        """So many bytes of it wait for the rest of a WebSocket message."""

    def fail(self, kind: str, reason: str) -> None:
        """End it because of something that the client did."""


class Pipe(asyncio.Transport):
    """One WebSocket, as a transport: what is written goes out as binary messages.

    An engine adds :meth:`_send` and :meth:`_send_close`.

    :param raw: the transport of the WebSocket itself.
    :param endpoint: the connection.
    :param request: what the WebSocket began with.
    """

    __slots__ = ("_code", "_endpoint", "_raw", "_reason", "_request", "_said_end", "_violated")

    def __init__(self, raw: asyncio.Transport, endpoint: Endpoint, request: HttpRequest) -> None:
        self._raw = raw
        self._endpoint = endpoint
        self._request = request
        self._said_end = False
        self._code = close_code("closed")
        self._reason = ""
        self._violated = False

    def _send(self, piece: bytes | memoryview) -> None:
        raise NotImplementedError

    def _send_close(self, code: int, reason: str) -> None:
        raise NotImplementedError

    # -- the end

    def explain(self, kind: str, reason: str) -> None:
        """Say why the connection is about to end; the client is told by the close code."""
        if not self._violated:
            self._code, self._reason = close_code(kind), cut(reason)

    def violated(self, code: int, reason: str) -> None:
        """The client broke the protocol of WebSockets."""
        self._violated = True
        self._code, self._reason = code, cut(reason)
        if not self._endpoint.ended:
            self._endpoint.fail("protocol", f"of WebSockets: {reason}")

    def write_eof(self) -> None:
        """Send the close frame."""
        if not self._said_end:
            self._said_end = True
            self._send_close(self._code, self._reason)

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.write_eof()
        if not self._raw.is_closing():  # see Writer.close_if_no_eof()
            self._raw.close()

    def abort(self) -> None:
        if not self._raw.is_closing():
            self.write_eof()  # as far as the system takes it
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def client_closed(self) -> None:
        """The client has sent its close frame: answer it, and close."""
        if not self._endpoint.ended:
            self._endpoint.eof_received()  # what was sent before goes out first
            self._code, self._reason = 1000, ""
        self.close()

    # -- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._said_end:
            return
        if len(data) <= PIECE:
            self._send(bytes(data))
            return
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            self._send(view[start : start + PIECE])

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return in_transport(self._raw)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    # -- reading

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        resume_reading(self._raw)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "http_request":
            return self._request
        return self._raw.get_extra_info(name, default)
