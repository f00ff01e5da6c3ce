"""``async for`` over what an ``async_connect``ed client receives."""

from __future__ import annotations

from typing import Any

import pytest

import hisock

from .echoing import echoing
from .loops import Seen, on_loops, turns, within

AWAY = (hisock.ConnectionLost, hisock.ClientDisconnected)


@on_loops
async def test_async_for_gets_everything_in_order_until_the_client_closes() -> None:
    got: list[Any] = []
    async with echoing() as server, await hisock.async_connect(server.addr, "Ada") as ada:
        ada.on("handled")(lambda: got.append("handled"))
        await ada.call("echo", b"")
        await ada.recv("echo", timeout=10)
        server.send_client("Ada", "first", "1")
        server.send_client("Ada", "handled")
        server.send_client("Ada", "second")
        server.send_client("Ada", "third", {"x": 3})
        async for command, message in ada:
            got.append((command, message))
            if command == "third":
                await ada.close()
    assert got[-3:] == [("first", b"1"), ("second", None), ("third", b'{"x":3}')]
    assert "handled" in got


@on_loops
async def test_async_for_loses_nothing_when_it_lags_behind() -> None:
    async with echoing() as server, await hisock.async_connect(server.addr, "Ada") as ada:
        await ada.call("echo", b"")
        await ada.recv("echo", timeout=10)
        for number in range(10_000):
            server.send_client("Ada", "number", number)
        server.send_client("Ada", "end")
        numbers = []
        async for command, message in ada:
            if command == "end":
                break
            numbers.append(int(message or b""))
            if len(numbers) % 1000 == 1:
                await turns(50)
    assert numbers == list(range(10_000))


@on_loops
async def test_what_nobody_has_read_yet_is_there_for_recv_after_async_for() -> None:
    async with echoing() as server, await hisock.async_connect(server.addr, "Ada") as ada:
        await ada.call("echo", b"")
        await ada.recv("echo", timeout=10)
        for number in range(5):
            server.send_client("Ada", "number", number)
        async for _, message in ada:
            if message == b"1":
                break
        await ada.call("echo", b"")  # the numbers have all come now
        assert await ada.recv("number", int, timeout=1) == 2
        assert await ada.recv("number", int, timeout=1) == 3


@on_loops
async def test_async_for_raises_when_the_connection_is_lost() -> None:
    async with echoing() as server:
        client = await hisock.async_connect(server.addr)
        client.send("cut me off")
        with pytest.raises(hisock.ConnectionLost):
            async for _ in client:
                pass
        assert client.closed


@on_loops
async def test_async_for_ends_when_the_server_says_goodbye() -> None:
    seen = Seen()
    async with echoing() as server:
        client = await hisock.async_connect(server.addr)
        client.on("force_disconnect")(lambda: seen.add("force_disconnect"))
        client.send("kick me")
        async for _ in client:
            pass
        assert client.closed
        assert seen.seen == [("force_disconnect",)]
        await within(client.wait_closed())
