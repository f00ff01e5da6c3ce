"""``wait_for`` in an ``async def`` handler of a server."""

from __future__ import annotations

import asyncio

import pytest

import hisock

from .loops import LOOPBACK, Seen, on_loops, turns, within


@on_loops
async def test_wait_for_takes_what_that_client_sends_next() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("login")
        async def login(client: hisock.ClientInfo) -> None:
            server.send_client(client, "who are you?")
            name = await server.wait_for("I am", str, client, timeout=10)
            server.send_client(client, "hello", f"{name} at {client.name}")

        async with (
            await hisock.async_connect(server.addr, "first") as first,
            await hisock.async_connect(server.addr, "second") as second,
        ):
            for client in (first, second):
                client.send("login")
                await client.recv("who are you?", timeout=10)
            # In the other order than they asked.
            second.send("I am", "Bob")
            assert await second.recv("hello", str, 10) == "Bob at second"
            first.send("I am", "Ada")
            assert await first.recv("hello", str, 10) == "Ada at first"


@on_loops
async def test_wait_for_without_a_client_takes_what_anybody_sends() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        waiting = asyncio.ensure_future(server.wait_for("move", dict[str, int], timeout=10))
        async with await hisock.async_connect(server.addr) as client:
            client.send("move", {"x": 1, "y": 2})
            assert await within(waiting) == {"x": 1, "y": 2}


@on_loops
async def test_wait_for_ends_when_nothing_comes_or_the_client_goes() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        joined = Seen()
        server.on("join")(lambda client: joined.add("join", client))
        ada = await hisock.async_connect(server.addr, "Ada")
        (info,) = await joined.until_named("join")
        with pytest.raises(TimeoutError, match="move"):
            await server.wait_for("move", client=info, timeout=0)
        waiting = asyncio.ensure_future(server.wait_for("move", client="Ada"))
        await turns(2)
        await ada.close()
        with pytest.raises(hisock.ConnectionLost):
            await within(waiting)
        with pytest.raises(hisock.ClientNotFound):
            await server.wait_for("move", client="Ada", timeout=10)
        waiting = asyncio.ensure_future(server.wait_for("move"))
        await turns(2)
    with pytest.raises(hisock.ClientDisconnected):
        await within(waiting)


@on_loops
async def test_wait_for_refuses_what_does_not_fit() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        waiting = asyncio.ensure_future(server.wait_for("move", int, timeout=10))
        async with await hisock.async_connect(server.addr) as client:
            client.send("move", "north")
            with pytest.raises(hisock.InvalidTypeCast, match="move"):
                await within(waiting)


@on_loops
async def test_a_cancelled_wait_leaves_the_message_to_the_next() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        first = asyncio.ensure_future(server.wait_for("move", int))
        await turns(2)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = asyncio.ensure_future(server.wait_for("move", int, timeout=10))
        async with await hisock.async_connect(server.addr) as client:
            client.send("move", 7)
            assert await within(second) == 7
