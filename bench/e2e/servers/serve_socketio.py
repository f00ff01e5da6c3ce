# mypy: disable-error-code="import-not-found", disallow-subclassing-any=False
# mypy: disallow-untyped-decorators=False
"""python-socketio on uvicorn: uvloop, httptools, its default WebSocket implementation.

Messages are text, as its users send. Clients connect over WebSocket from the start; the room is in
the connect request.

Usage: serve_socketio.py echo|all|move|announced [REDIS-URL PORT]: with the latter, several
processes share the port, and a Redis manager connects them.
"""

import json
import socket
import sys
from importlib.metadata import version
from typing import Any

import socketio
import uvicorn

together = len(sys.argv) > 2
sio = socketio.AsyncServer(
    async_mode="asgi",
    ping_interval=3600,
    max_http_buffer_size=16 * 1024 * 1024,
    client_manager=socketio.AsyncRedisManager(sys.argv[2]) if together else None,
)
room_of: dict[str, str] = {}


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, str] | None) -> None:
    if sys.argv[1] == "announced":
        ip, port = environ["asgi.scope"]["client"]
        await sio.emit("joined", {"ip": [ip, port], "name": None, "group": None})
    if auth:
        room_of[sid] = auth["room"]
        await sio.enter_room(sid, auth["room"])


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    room_of.pop(sid, None)


@sio.event
async def echo(sid: str, message: str) -> None:
    await sio.emit("echo", message, to=sid)


@sio.event
async def called(sid: str, message: str) -> str:
    return message


@sio.on("all")
async def broadcast(sid: str, message: str) -> None:
    await sio.emit("all", message)


@sio.event
async def move(sid: str, message: str) -> None:
    await sio.emit("move", message, room=room_of[sid])


class Server(uvicorn.Server):
    """Tells the port once connections are accepted."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        names = ("python-socketio", "python-engineio", "uvicorn", "websockets", "uvloop")
        port = self.servers[0].sockets[0].getsockname()[1]
        print(json.dumps({"port": port, "versions": {n: version(n) for n in names}}), flush=True)


config = uvicorn.Config(
    socketio.ASGIApp(sio),
    host="127.0.0.1",
    port=0,
    loop="uvloop",
    http="httptools",
    log_level="warning",
    ws_ping_interval=None,
    ws_max_size=16 * 1024 * 1024,
    ws_per_message_deflate=False,
)
sockets = None
if together:
    shared = socket.socket()
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind(("127.0.0.1", int(sys.argv[3])))
    sockets = [shared]
Server(config).run(sockets)
