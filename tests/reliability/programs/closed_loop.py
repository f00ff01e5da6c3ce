"""A loop is closed below a client or a server, which goes on. Tells how much others get of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from typing import Any

import hisock
from hisock._runtime.loops import new_loop


def sockets_with(number: int) -> list[socket.socket]:
    """Connected sockets, one of which gets the number: uvloop has closed what had it."""
    found: list[socket.socket] = []
    while number not in [each.fileno() for each in found]:
        assert len(found) < 128, f"{number} is not free"
        found += socket.socketpair()
    for each in found:
        each.setblocking(False)
    return found


def told(socks: list[socket.socket]) -> int:
    """How many bytes have come."""
    size = 0
    for sock in socks:
        with contextlib.suppress(BlockingIOError):
            size += len(sock.recv(65536))
    return size


def client_without_loop(loop: Any) -> int:
    with hisock.ThreadedHiSockServer(("127.0.0.1", 0)) as server:
        server.start()
        first, second = new_loop(loop), new_loop(loop)
        client = first.run_until_complete(hisock.async_connect(server.addr))
        number = client._driver.session._flusher.descriptor
        assert number >= 0
        first.close()
        others = sockets_with(number) if loop == "uvloop" else []
        for end in (
            lambda: client.send("secret"),
            lambda: second.run_until_complete(client.close()),
        ):
            with contextlib.suppress(RuntimeError):
                end()
        second.close()
        return told(others)


def server_without_loop(loop: Any) -> int:
    server = hisock.HiSockServer(("127.0.0.1", 0), send_buffer=4096)
    first = new_loop(loop)

    async def serve() -> list[object]:
        serving = asyncio.ensure_future(server.serve())
        return [serving, await hisock.async_connect(server.addr, "peer")]

    left = first.run_until_complete(serve())
    (connection,) = server._hub.registry
    number = connection.writer.descriptor
    assert number >= 0
    first.close()
    others = sockets_with(number) if loop == "uvloop" else []
    # The first of these fails, and nothing is written before the queue is over its limit.
    for _ in range(6):
        with contextlib.suppress(RuntimeError):
            server.send_client("peer", "secret", bytes(1000))
    with contextlib.suppress(RuntimeError):
        server.disconnect_client("peer")
    assert left, "nothing is freed before"
    return told(others)


if __name__ == "__main__":
    what = {"client": client_without_loop, "server": server_without_loop}[sys.argv[1]]
    print(what(sys.argv[2]), flush=True)
    os._exit(0)  # no warnings of what is left undone
