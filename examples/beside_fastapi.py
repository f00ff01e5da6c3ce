"""A game and its web site on one port: hisock behind FastAPI.

    python examples/beside_fastapi.py

It needs ``pip install fastapi uvicorn websockets``. On the command line, uvicorn runs
such a site; here it runs in the program, beside a player who joins over the WebSocket.
"""

import asyncio
import contextlib
import socket
import urllib.request
from collections.abc import AsyncIterator

import fastapi
import uvicorn
import websockets

import hisock
import hisock.asgi

# The site
game = hisock.HiSockServer(None)
play = hisock.asgi.endpoint(game)


@game.on("add")
def add(client: hisock.ClientInfo, numbers: list[int]) -> int:
    return sum(numbers)


@contextlib.asynccontextmanager
async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
    async with game:
        yield


app = fastapi.FastAPI(lifespan=lifespan)


@app.get("/players")
async def players() -> list[str]:
    return game.get_all_clients("name")


@app.websocket("/ws")
async def ws(websocket: fastapi.WebSocket) -> None:
    await play(websocket.scope, websocket.receive, websocket.send)


# The end
async def main() -> None:
    """Run the site as uvicorn's command does, and visit it."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    running = asyncio.create_task(server.serve([sock]))
    try:
        await visit("127.0.0.1", sock.getsockname()[1])
    finally:
        server.should_exit = True
        await running


async def visit(host: str, port: int) -> None:
    """A player joins over a WebSocket, and a browser looks at the page."""
    async with websockets.connect(f"ws://{host}:{port}/ws") as player:
        hello = b'$CLTHELLO${"name": "Ada", "group": null}'
        await player.send(b"%-16d" % len(hello) + hello)
        print((await player.recv())[16:])
        page = await asyncio.to_thread(urllib.request.urlopen, f"http://{host}:{port}/players")
        print(page.read().decode())


asyncio.run(main())
