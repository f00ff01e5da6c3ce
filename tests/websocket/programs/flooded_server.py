"""A server for floods of WebSockets: flooded_server.py ENGINE. It prints its port."""

from __future__ import annotations

import sys

import hisock

server = hisock.HiSockServer(
    ("127.0.0.1", 0),
    websocket=hisock.WebSocket(engine=sys.argv[1]),
    hello_timeout=2.0,
    max_connections=3000,
)


@server.on("echo")
def echo(client: hisock.ClientInfo, message: bytes) -> None:
    server.send_client(client, "echo", message)


@server.on("take")
def take(client: hisock.ClientInfo, message: bytes) -> None:
    """Nothing is kept of it."""


@server.on("ended")
def ended(client: hisock.ClientInfo) -> None:
    server.send_client(client, "ended", server.stats().ended)


print(server.addr[1], flush=True)
server.start()
