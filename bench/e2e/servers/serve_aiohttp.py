# mypy: disable-error-code="import-not-found"
"""aiohttp, its WebSockets, on uvloop; no compression, no pings (as everywhere here).

Usage: serve_aiohttp.py echo|move

One role a process, as in serve_websockets.py.
"""

import asyncio
import json
import sys
from importlib.metadata import version

import uvloop
from aiohttp import web

role = sys.argv[1]
rooms: dict[str, set[web.WebSocketResponse]] = {}


async def opened(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False, max_msg_size=16 * 1024 * 1024)
    await socket.prepare(request)
    return socket


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = await opened(request)
    async for message in socket:
        await socket.send_bytes(message.data)
    return socket


async def relay(request: web.Request) -> web.WebSocketResponse:
    """Hands every message to the sender's room, one after the other, as its documentation does."""
    socket = await opened(request)
    peers = rooms.setdefault(request.path, set())
    peers.add(socket)
    try:
        async for message in socket:
            for peer in list(peers):
                await peer.send_bytes(message.data)
    finally:
        peers.discard(socket)
    return socket


async def main() -> None:
    app = web.Application()
    app.router.add_get("/{room:.*}", echo if role == "echo" else relay)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    versions = {name: version(name) for name in ("aiohttp", "uvloop")}
    print(json.dumps({"port": runner.addresses[0][1], "versions": versions}), flush=True)
    await asyncio.Event().wait()


uvloop.run(main())
