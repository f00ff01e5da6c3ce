"""A server behind a web framework: a WebSocket route of FastAPI, Starlette, or another of ASGI.

::

    game = hisock.HiSockServer(None)
    play = hisock.asgi.endpoint(game)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with game:
            yield

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.websocket("/ws")
    async def ws(websocket: fastapi.WebSocket):
        await play(websocket.scope, websocket.receive, websocket.send)

Nothing besides hisock is needed: the WebSocket itself is the ASGI server's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from hisock._core.client_info import ClientInfo
from hisock._core.http import DEFAULT_MAX_FRAME, HttpRequest, WebSocket
from hisock._core.public import publish
from hisock._server.hub import Hub
from hisock._websocket.asgi_line import AsgiLine, AsgiPipe, Receive, Send, carry
from hisock._websocket.handshake import Ruling, judge
from hisock.server import HiSockServer

__all__ = ["endpoint"]

Scope = MutableMapping[str, Any]


def endpoint(
    server: HiSockServer,
    *,
    origins: Sequence[str] | None = None,
    max_frame: int = DEFAULT_MAX_FRAME,
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI application whose WebSockets are clients of a server.

    The server has to run on the loop of the ASGI server: in the lifespan of the application, with
    ``async with server``. Where it does not run, and while it closes, clients get HTTP 503.

    :param server: the server; made with ``HiSockServer(None)`` it takes no other clients.
    :param origins: the pages that may connect, as in :class:`hisock.WebSocket`: by default those
        of the host in the request.
    :param max_frame: bytes that one WebSocket message may have, 1,024 at the least. The ASGI server
        has a limit of its own, which is what bounds its memory.
    :raises ValueError: one of them is not what it has to be.
    """
    return AsgiRoute(server._hub, WebSocket(origins=origins, max_frame=max_frame, health=None))


class AsgiRoute:
    """See :func:`endpoint`."""

    def __init__(self, hub: Hub, options: WebSocket) -> None:
        self._hub = hub
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._join(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(send, "http.response", Ruling(426, "this is for WebSockets"))
        else:
            raise ValueError(f"hisock.asgi.endpoint takes WebSockets, and no {scope['type']!r}")

    async def _join(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        request = _request(scope)
        addr = self._address(scope)
        ruling = self._judge(request, addr)
        if ruling.accepted:
            await send({"type": "websocket.accept", "subprotocol": ruling.subprotocol})
            await self._carry(request, addr, receive, send)
        elif "websocket.http.response" in (scope.get("extensions") or {}):
            await _answer(send, "websocket.http.response", ruling)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": ruling.text})

    def _judge(self, request: HttpRequest, addr: tuple[str, int]) -> Ruling:
        hub = self._hub
        if not hub.thread.running:
            return Ruling(503, "the server does not run")
        if hub.loop is not asyncio.get_running_loop():
            raise RuntimeError("the server runs on another loop; run it with `async with server`")
        ruling = judge(request, self._options, hub.shutdown.requested)
        if not ruling.accepted:
            hub.note_end(ruling.kind, f"HTTP {ruling.status}: {ruling.text}", ClientInfo(addr))
        elif not hub.limits.permits_connection(addr[0]):
            ruling = Ruling(503, "too many connections of your address")
            hub.note_end("rate", "too many connections of its address", ClientInfo(addr))
        return ruling

    async def _carry(
        self, request: HttpRequest, addr: tuple[str, int], receive: Receive, send: Send
    ) -> None:
        """Let a client join whose WebSocket has been accepted, and serve it to its end."""
        if self._hub.shutdown.requested:  # meanwhile
            await send({"type": "websocket.close", "code": 1001})
            return
        line = AsgiLine(send, {"peername": addr})
        connection = self._hub.attach(line, addr)
        if not connection.ended:
            pipe = AsgiPipe(line, connection, request)
            connection.move(pipe, addr)
            await carry(line, pipe, connection, receive, self._options.max_frame)

    def _address(self, scope: Scope) -> tuple[str, int]:
        """The address of a client, as the ASGI server has it."""
        client = scope.get("client")
        return self._hub.next_unix_address() if client is None else (client[0], client[1])


def _request(scope: Scope) -> HttpRequest:
    target = scope["path"]
    if scope.get("query_string"):
        target += "?" + scope["query_string"].decode("latin-1")
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return HttpRequest(target, fields)


async def _answer(send: Send, kind: str, ruling: Ruling) -> None:
    body = f"{ruling.text}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": f"{kind}.start", "status": ruling.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


publish(__name__, globals(), __all__)
