"""A server for the clients of a test to talk to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import hisock

from .loops import LOOPBACK


@contextlib.asynccontextmanager
async def echoing() -> AsyncIterator[hisock.HiSockServer]:
    """A server that sends back what it is sent with ``echo``, and calls all it hears to all."""
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("echo")
        def echo(client: hisock.ClientInfo, content: bytes) -> bytes:
            server.send_client(client, "echo", content)
            return content

        @server.on("kick me")
        def kick(client: hisock.ClientInfo) -> None:
            server.disconnect_client(client)

        @server.on("cut me off")
        def cut(client: hisock.ClientInfo) -> None:
            server.disconnect_client(client, force=True)

        yield server
