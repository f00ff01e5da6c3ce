"""Puts a WebSocket between every server of the tests and its clients, which know nothing of it.

With ``HISOCK_TEST_OVER=picows`` or ``websockets`` the suite runs over WebSockets. What a client of
TCP sends is wrapped, inside the server's process, in the messages of a WebSocket that a real
request has asked for, and goes through the engine; what the engine writes is unwrapped for it.
Servers that a test makes with ``websocket=`` are left as they are, and so are child processes.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import hisock
import hisock.server
from hisock._core import http
from hisock._runtime.draining import in_transport
from hisock._runtime.ended import ENDED
from hisock._websocket import front

from .web_peer import BINARY, CLOSE, PING, PONG, request

#: Tests that are about TCP itself or about this wrapper, by the beginning of their ids.
EXCLUDED = {
    "tests/features/test_admin.py": "administrators connect by TCP",
    "tests/reliability/test_past_the_transport.py": "only sockets are written to past transports",
    **{
        "tests/reliability/test_turns.py::test_what_comes_before_a_client_is_admitted_stays_in_the_"
        f"kernel[{at_once}-None]": "a message of a WebSocket is taken whole, here of 64 KiB"
        for at_once in (True, False)
    },
    "tests/features/test_slow_handlers.py::test_a_handler_that_holds": "the first function of the"
    " program that the loop calls is the wrapper's",
    "tests/features/test_slow_handlers.py::test_many_quick_messages": "the first function of the"
    " program that the loop calls is the wrapper's",
}

PIECE = 65536
_MASK = b"\x01\x02\x03\x04"


def install(engine: str) -> None:
    """Have servers take WebSockets by this engine, and all connections be such."""
    carried = hisock.WebSocket(engine=cast(Any, engine), health=None)

    def websocket_option(option: Any) -> hisock.WebSocket | None:
        return carried if option is None else http.websocket_option(option)

    hisock.server.websocket_option = websocket_option  # type: ignore[attr-defined]
    greet = front.Front.greet

    def carry(self: front.Front, endpoint: Any) -> asyncio.BaseProtocol:
        sniffer = greet(self, endpoint)
        return Wrapping(sniffer) if self.options is carried else sniffer

    front.Front.greet = carry  # type: ignore[method-assign]


def excluded(test: str) -> str | None:
    """Why a test is not run over WebSockets; ``None`` where it is."""
    reasons = (reason for beginning, reason in EXCLUDED.items() if test.startswith(beginning))
    return next(reasons, None)


def wrap(data: bytes, opcode: int = BINARY) -> bytes:
    """A message of a client."""
    size = len(data)
    head = bytes([0x80 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += b"\xfe" + size.to_bytes(2, "big")
    else:
        head += b"\xff" + size.to_bytes(8, "big")
    mask = int.from_bytes((_MASK * (size // 4 + 1))[:size], "big")
    return head + _MASK + (int.from_bytes(data, "big") ^ mask).to_bytes(size, "big")


class Wrapping(asyncio.Protocol):
    """What the loop calls: the client's bytes become messages of a WebSocket."""

    def __init__(self, sniffer: asyncio.BaseProtocol) -> None:
        self._sniffer = sniffer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._carried = Carried(cast(asyncio.Transport, transport), self._sniffer)
        self._sniffer.connection_made(self._carried)
        if not self._carried.is_closing():
            self._carried.deliver(request())

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            self._carried.deliver(wrap(data[start : start + PIECE]))

    def eof_received(self) -> Any:
        return self._carried.protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._carried.protocol.connection_lost(exc)
        self._carried.release()

    def pause_writing(self) -> None:
        self._carried.protocol.pause_writing()

    def resume_writing(self) -> None:
        self._carried.protocol.resume_writing()


class Carried(asyncio.Transport):
    """The transport that the engine has: what it writes is unwrapped for the client."""

    def __init__(self, raw: asyncio.Transport, protocol: Any) -> None:
        self._raw = raw
        self.protocol: Any = protocol
        self._written = bytearray()
        self._answered = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast(asyncio.BaseProtocol, self.protocol)

    def release(self) -> None:
        """Let go of the transport below, which has closed: the protocol and this are a cycle."""
        self._raw = ENDED

    def deliver(self, data: bytes) -> None:
        """Bytes of the WebSocket for the server."""
        if not isinstance(self.protocol, asyncio.BufferedProtocol) and hasattr(
            self.protocol, "data_received"
        ):
            self.protocol.data_received(data)
            return
        while data:
            buffer = self.protocol.get_buffer(-1)
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            self.protocol.buffer_updated(size)
            data = data[size:]

    def write(self, data: Any) -> None:
        self._written += data
        if not self._answered:
            head, end, rest = bytes(self._written).partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                assert head.startswith(b"HTTP/1.1 503 "), head  # the server is closing
                return
            self._answered = True
            self._written[:] = rest
        plain = bytearray()
        ended = False
        while (message := self._next()) is not None:
            opcode, payload = message
            if opcode == BINARY:
                plain += payload
            elif opcode == PING:
                asyncio.get_running_loop().call_soon(self.deliver, wrap(payload, PONG))
            elif opcode == CLOSE:
                ended = True
        if plain:
            self._raw.write(bytes(plain))
        if ended and self._raw.can_write_eof():
            with contextlib.suppress(OSError):  # the client has gone already
                self._raw.write_eof()  # to the client it is the end of the stream

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def _next(self) -> tuple[int, bytes] | None:
        """A message of the server, taken out of what was written."""
        written = self._written
        if len(written) < 2:
            return None
        start, size = 2, written[1]
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(written[2:start], "big")
        if len(written) < start + size:
            return None
        opcode, payload = written[0] & 15, bytes(written[start : start + size])
        del written[: start + size]
        return opcode, payload

    def get_write_buffer_size(self) -> int:
        return in_transport(self._raw)  # from any thread, as for the server's figures

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        # picows writes to the socket itself, unless there is TLS between.
        found = self._raw.get_extra_info(name, default)
        return self if name == "ssl_object" and found is None else found


def _pass_on(name: str) -> None:
    """Have a method of the base class be that of the transport below."""

    def method(self: Carried, *given: Any, **more: Any) -> Any:
        return getattr(self._raw, name)(*given, **more)

    setattr(Carried, name, method)


for _name in (
    "abort",
    "can_write_eof",
    "close",
    "get_write_buffer_limits",
    "is_closing",
    "is_reading",
    "pause_reading",
    "resume_reading",
    "set_write_buffer_limits",
    "write_eof",
):
    _pass_on(_name)
