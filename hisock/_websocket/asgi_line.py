"""A WebSocket that an ASGI server holds, as a transport over its ``receive`` and ``send``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from hisock._websocket.pipe import Endpoint, Pipe

AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]

#: Bytes that wait for the ASGI server before the connection is told to write no more.
_HIGH = 65536
#: Seconds that a closing message has to be taken, where the rest is dropped.
_LAST_SECONDS = 1.0


class AsgiLine(asyncio.Transport):
    """What the WebSocket of an ASGI server is written to: a queue of messages for its ``send``.

    :param send: given by the ASGI server; it returns when the client has room for more.
    :param extra: see ``get_extra_info``.
    :ivar over: done when nothing more will be sent.
    :ivar readable: set unless reading is paused.
    """

    def __init__(self, send: Send, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._queue: deque[AsgiMessage] = deque()
        self._size = 0
        self._high, self._low = _HIGH, _HIGH // 4
        self._wake = asyncio.Event()
        self._busy = False
        self._paused = False
        self._closing = False
        self.over: asyncio.Future[None] = self._loop.create_future()
        self.readable = asyncio.Event()
        self.readable.set()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    # -- writing

    def queue(self, message: AsgiMessage) -> None:
        """Send a message, behind those that wait."""
        if self.over.done():
            return
        self._queue.append(message)
        self._size += len(message.get("bytes") or b"")
        self._wake.set()
        if self._size > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    async def pump(self) -> None:
        """Send what is queued until the line is closed, or the client is gone.

        :raises Exception: whatever the ASGI server raises for a client that is gone.
        """
        while not self.over.done():
            while self._queue:
                message = self._queue[0]
                self._busy = True
                await self._send(message)
                self._busy = False
                self._sent(message)
            if self._closing:
                self._end()
                return
            self._wake.clear()
            await self._wake.wait()

    def _sent(self, message: AsgiMessage) -> None:
        if self._queue and self._queue[0] is message:
            self._queue.popleft()
            self._size -= len(message.get("bytes") or b"")
        if self._paused and self._size <= self._low and not self.over.done():
            self._paused = False
            self._protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self._size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low

    # -- reading

    def pause_reading(self) -> None:
        self.readable.clear()

    def resume_reading(self) -> None:
        self.readable.set()

    # -- the end

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Send what is queued, then end."""
        self._closing = True
        self._wake.set()

    def abort(self) -> None:
        """Drop what is queued, and end; only a closing message is sent still, where it can be."""
        last = [one for one in self._queue if one["type"] == "websocket.close"]
        self._queue.clear()
        self._size = 0
        self.close()
        if self._busy or not last:
            self._end()
        else:
            self._queue.extend(last)
            self._loop.call_later(_LAST_SECONDS, self._end)

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class AsgiPipe(Pipe):
    """A WebSocket of an ASGI server as the transport of a connection."""

    _raw: AsgiLine

    def _send(self, piece: bytes | memoryview) -> None:
        self._raw.queue({"type": "websocket.send", "bytes": bytes(piece)})

    def _send_close(self, code: int, reason: str) -> None:
        self._raw.queue({"type": "websocket.close", "code": code, "reason": reason})


async def carry(
    line: AsgiLine, pipe: AsgiPipe, endpoint: Endpoint, receive: Receive, max_frame: int
) -> None:
    """Let a connection live over an ASGI server's WebSocket, until either side ends it.

    :param max_frame: bytes that one WebSocket message may have.
    """
    listening = asyncio.ensure_future(_listen(line, pipe, endpoint, receive, max_frame))
    sending = asyncio.ensure_future(line.pump())
    lost: Exception | None = None
    try:
        await asyncio.wait([listening, sending, line.over], return_when=asyncio.FIRST_COMPLETED)
        for task in (listening, sending):
            if task.done() and (failed := task.exception()) is not None:
                lost = ConnectionResetError(f"the ASGI server: {failed}")
    finally:
        line.close()
        listening.cancel()
        sending.cancel()
        try:
            await asyncio.gather(listening, sending, return_exceptions=True)
        finally:  # this may be cancelled meanwhile, and the client is gone all the same
            line.abort()
            endpoint.connection_lost(lost)


async def _listen(
    line: AsgiLine, pipe: AsgiPipe, endpoint: Endpoint, receive: Receive, max_frame: int
) -> None:
    """Hand on what comes, until the client closes.

    :raises ConnectionError: it is gone without having closed.
    """
    while True:
        await line.readable.wait()
        message = await receive()
        data = message.get("bytes")
        if message["type"] == "websocket.disconnect":
            if message.get("code") == 1006:
                raise ConnectionResetError("the connection was lost")
            return
        if data is None:
            pipe.violated(1003, "text is not understood, only binary messages are")
        elif len(data) > max_frame:
            pipe.violated(1009, f"a message has {len(data)} bytes, more than {max_frame}")
        else:
            endpoint.feed(data)
