"""A server with handlers to be called."""

from __future__ import annotations

import asyncio

import msgspec

import hisock


class Point(msgspec.Struct):
    x: int
    y: int = 0


def answer(server: hisock.HiSockServer) -> None:
    """The handlers that the tests call."""

    @server.on("add")
    def add(client: hisock.ClientInfo, numbers: list[int]) -> int:
        return sum(numbers)

    @server.on("return")
    def return_it(client: hisock.ClientInfo, content: bytes) -> bytes:
        return content

    @server.on("point")
    async def point(client: hisock.ClientInfo, point: Point) -> Point:
        await asyncio.sleep(0)
        return Point(point.y, point.x)

    @server.on("name")
    def name(client: hisock.ClientInfo) -> str | None:
        return client.name

    @server.on("nothing")
    def nothing() -> None: ...

    @server.on("in a thread", threaded=True)
    def in_a_thread(client: hisock.ClientInfo, text: str) -> str:
        return text.upper()

    @server.on("fail")
    def fail(client: hisock.ClientInfo, text: str) -> None:
        raise ValueError(text)

    @server.on("fail later")
    async def fail_later(client: hisock.ClientInfo, text: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(text)

    @server.on("fail in a thread", threaded=True)
    def fail_in_a_thread(client: hisock.ClientInfo, text: str) -> None:
        raise ValueError(text)

    @server.on("unsendable")
    def unsendable(client: hisock.ClientInfo) -> object:
        return object()

    @server.on("never", concurrent=True)
    async def never(client: hisock.ClientInfo) -> None:
        await asyncio.Event().wait()

    @server.on("kick")
    def kick(client: hisock.ClientInfo, force: bool) -> None:
        server.disconnect_client(client, force=force)

    @server.on("double")
    def double(client: hisock.ClientInfo, number: int) -> int:
        return 2 * number
