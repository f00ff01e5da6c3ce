"""A server whose handlers never end; it prints its port, and its account when asked for it."""

from __future__ import annotations

import asyncio
import sys
import threading

import hisock

server = hisock.HiSockServer(
    ("127.0.0.1", 0),
    max_buffered=int(sys.argv[1]),
    max_connections=200,
    auth_timeout=600,
    keepalive=False,
    announce="none",
)


@server.authenticate
async def authenticate(name: str | None) -> None:
    if name == "stranger":
        await asyncio.sleep(600)


@server.on("block", threaded=True)
def block(client: hisock.ClientInfo, message: bytes) -> None:
    threading.Event().wait(600)


@server.on("task", concurrent=True)
async def task(client: hisock.ClientInfo, message: bytes) -> None:
    await asyncio.sleep(600)


@server.on("busy")
async def busy(client: hisock.ClientInfo) -> None:
    await asyncio.sleep(600)


@server.on("take")
def take(client: hisock.ClientInfo, message: bytes) -> None:
    server.send_client(client, "taken")


@server.on("account")
def account(client: hisock.ClientInfo) -> None:
    figures = server.stats()
    seen = figures.connections + sum(figures.ended.values())
    server.send_client(
        client,
        "account",
        {"held": figures.buffered_bytes, "memory": figures.memory, "seen": seen},
    )


@server.on("*")
def anything(client: hisock.ClientInfo, command: str, message: bytes) -> None:
    """So that commands without a handler wait for those that run."""


print(server.addr[1], flush=True)
server.start()
