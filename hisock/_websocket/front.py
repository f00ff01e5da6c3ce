"""One port for both: the first byte tells a WebSocket from a stream of frames."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import Callable
from types import ModuleType
from typing import cast

from hisock._core.http import HttpRequest, WebSocket
from hisock._core.log_fields import fields
from hisock._core.reporting import LogLimit, loggable
from hisock._websocket.handshake import MAX_REQUEST, Ruling, client_address, judge
from hisock._websocket.pipe import Endpoint

logger = logging.getLogger("hisock.server")

_GET = b"GET "
_END = b"\r\n\r\n"
#: Bytes of the first reads of a connection at most. A hello or a request has fewer; what comes
#: behind either waits for the client's admission, and costs least in the kernel's buffer.
_READ_SIZE = 4096


class Front:
    """Makes the protocols that listen to what a new connection begins with.

    :param options: how WebSockets are taken.
    :param is_closing: whether the server is closing, which answers to health checks report.
    :raises ImportError: the engine that was asked for, or any, is not installed.
    """

    def __init__(self, options: WebSocket, is_closing: Callable[[], bool]) -> None:
        self.options = options
        self._is_closing = is_closing
        self._log_limit = LogLimit()
        #: What new connections are read into, one at a time.
        self.scratch = memoryview(bytearray(_READ_SIZE))
        self._engine = _load(options.engine)
        #: Serves Unix sockets, which picows does not support.
        self._unix_engine = self._engine
        if "picows" in self._engine.__name__:
            self._unix_engine = _find("websockets") or self._engine

    def greet(self, endpoint: Endpoint) -> asyncio.BaseProtocol:
        """The protocol of a connection that has been accepted just now."""
        return Sniffer(self, endpoint)

    def judge(self, request: HttpRequest) -> Ruling:
        """Whether a request may become a WebSocket."""
        return judge(request, self.options, self._is_closing())

    def open(self, raw: asyncio.Transport, endpoint: Endpoint, data: bytes) -> None:
        """Let an engine take a connection over, with what has come of it: a whole request.

        Where it becomes no WebSocket, it is answered, and ends.
        """
        engine = self._unix_engine if endpoint.addr[0] == "unix" else self._engine
        ruling = engine.open_websocket(self, raw, endpoint, data)
        if ruling is None:
            endpoint.fail("http", "it sent a request that is not valid")
        elif not ruling.accepted:
            endpoint.fail(ruling.kind, f"HTTP {ruling.status}: {ruling.text}")

    def failed(self, endpoint: Endpoint, failure: Exception) -> None:
        """End a connection because this library, or an engine, has raised at what it sent."""
        if endpoint.ended:
            return
        if self._log_limit.permits(time.monotonic()):
            addr, count = endpoint.addr[0], self._log_limit.reset()
            said = fields("websocket_failed", client=addr, reason=failure, withheld=count)
            text = "taking what %s sent by a WebSocket has failed"
            logger.error(text, addr, exc_info=loggable(failure), extra=said)
        endpoint.fail("failed", f"{type(failure).__name__} while taking what it sent")

    def address(self, request: HttpRequest, endpoint: Endpoint) -> tuple[str, int]:
        """The address of the client itself."""
        return client_address(request, endpoint.addr, self.options)


def _load(engine: str) -> ModuleType:
    wanted = ("picows", "websockets") if engine == "auto" else (engine,)
    for name in wanted:
        module = _find(name)
        if module is not None:
            return module
    raise ImportError(f"websocket= needs {' or '.join(wanted)}; pip install hisock[websocket]")


def _find(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"hisock._websocket.{name}_engine")
    except ImportError:  # pragma: no cover - both engines are installed where it is measured
        return None


class Sniffer(asyncio.BufferedProtocol):
    """Reads the first bytes of a connection, and hands it over to the protocol that they belong to.

    No frame begins with a letter, and of HTTP only GET is understood. It is a buffered protocol as
    the connection is: a transport of uvloop keeps the methods of a protocol of the other kind.
    """

    __slots__ = ("_endpoint", "_front", "_over", "_raw", "_request")

    def __init__(self, front: Front, endpoint: Endpoint) -> None:
        self._front = front
        self._endpoint = endpoint
        self._request = b""
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)  # that of uvloop is none by its class
        # From here on it counts, and has to say hello in time.
        self._endpoint.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._front.scratch

    def buffer_updated(self, nbytes: int) -> None:
        endpoint = self._endpoint
        if self._over or endpoint.ended:
            return
        data = self._front.scratch[:nbytes]
        if not self._request and data[0] != _GET[0]:
            self._raw.set_protocol(endpoint)  # type: ignore[arg-type]
            endpoint.feed(data)
            return
        searched = max(0, len(self._request) - len(_END) + 1)
        self._request += data
        end = self._request.find(_END, searched)
        if not _GET.startswith(self._request[:4]):
            self._refuse("framing", "it begins with neither a frame nor GET")
        elif (len(self._request) if end < 0 else end) > MAX_REQUEST:
            self._refuse("http", f"a request has at most {MAX_REQUEST} bytes")
        elif end >= 0:
            self._over = True
            self._front.open(self._raw, endpoint, self._request)

    def _refuse(self, kind: str, reason: str) -> None:
        self._over = True
        self._endpoint.fail(kind, reason)

    def eof_received(self) -> bool | None:
        return self._endpoint.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._endpoint.connection_lost(exc)

    def pause_writing(self) -> None:
        self._endpoint.pause_writing()

    def resume_writing(self) -> None:
        self._endpoint.resume_writing()
