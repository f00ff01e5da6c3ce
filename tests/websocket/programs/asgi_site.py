"""A game behind an ASGI server that is started from the command line: ``asgi_site:app``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import fastapi

import hisock
import hisock.asgi

game = hisock.HiSockServer(None)
play = hisock.asgi.endpoint(game)
game.on("quit")(game.disconnect_client)


@game.on("echo")
def echo(client: hisock.ClientInfo, message: bytes) -> None:
    game.send_client(client, "echo", message)


@contextlib.asynccontextmanager
async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
    async with game:
        yield


app = fastapi.FastAPI(lifespan=lifespan)


@app.websocket("/ws")
async def ws(websocket: fastapi.WebSocket) -> None:
    await play(websocket.scope, websocket.receive, websocket.send)


@app.get("/players")
async def players() -> list[str]:
    return game.get_all_clients("name")
