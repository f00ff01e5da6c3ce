# mypy: disable-error-code="import-not-found"
"""The handlers of "echo" that serve_hisock.py is asked for by its role: how users write them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import messages

from hisock import ClientInfo, HiSockServer
from hisock.routing import Context


def plain(server: HiSockServer) -> None:
    """Bytes, returned as they are; calls of it are answered with them."""

    @server.on("echo")
    def echo(client: ClientInfo, message: bytes) -> None:
        server.send_client(client, "echo", message)


def calls(server: HiSockServer) -> None:
    """For calls: what is returned is the reply. Joining is proved by a message."""

    @server.on("echo")
    def echo(client: ClientInfo, message: bytes) -> bytes:
        if message[:1] == b"p":
            server.send_client(client, "echo", message)
        return message


def on_loop(server: HiSockServer) -> None:
    """An async handler that lets others run once."""

    @server.on("echo")
    async def echo(client: ClientInfo, message: bytes) -> None:
        await asyncio.sleep(0)
        server.send_client(client, "echo", message)


def concurrent(server: HiSockServer) -> None:
    """The same, while the next messages of the client are handled."""

    @server.on("echo", concurrent=True)
    async def echo(client: ClientInfo, message: bytes) -> None:
        await asyncio.sleep(0)
        server.send_client(client, "echo", message)


def threaded(server: HiSockServer) -> None:
    """In a thread."""

    @server.on("echo", threaded=True)
    def echo(client: ClientInfo, message: bytes) -> None:
        server.send_client(client, "echo", message)


def wrapped(server: HiSockServer) -> None:
    """With a middleware around it."""
    plain(server)

    @server.middleware
    def around(context: Context) -> Generator[None, None, None]:
        yield


@dataclass
class MoveData:
    """The same as :class:`messages.Move`, as a dataclass."""

    player: str
    x: float
    y: float
    speed: float
    turning: bool


def typed(kind: Any) -> Callable[[HiSockServer], None]:
    """A message of some type, and the value of it sent back."""

    def register(server: HiSockServer) -> None:
        def echo(client: ClientInfo, message: Any) -> None:
            server.send_client(client, "echo", message)

        echo.__annotations__["message"] = kind
        server.on("echo")(echo)

    return register


KINDS: dict[str, Callable[[HiSockServer], None]] = {
    "call": calls,
    "async": on_loop,
    "concurrent": concurrent,
    "threaded": threaded,
    "middleware": wrapped,
    "struct": typed(messages.Move),
    "dataclass": typed(MoveData),
    "dict": typed(dict[str, Any]),
    "floats": typed(list[float]),
}
