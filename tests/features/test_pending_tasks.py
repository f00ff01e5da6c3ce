"""Tasks of concurrent handlers wait where those of all clients occupy what they may."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

import hisock
from hisock._core.account import TASK_COST

from .loops import LOOPBACK, Seen, on_loops, turns, within

#: Room for three tasks and their frames.
ROOM = 3 * (TASK_COST + 512) * 8 // 3
CLIENTS = 6


async def three_pending(server: hisock.HiSockServer) -> None:
    while server.stats().memory["pending"] < 3 * TASK_COST:
        await turns(1)


@on_loops
async def test_they_start_when_others_have_ended_and_cancelled_ones_never_do() -> None:
    seen, gate = Seen(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            hisock.HiSockServer(LOOPBACK, max_buffered=ROOM, announce="none")
        )

        @server.on("work", concurrent=True)
        async def work(client: hisock.ClientInfo, number: int) -> int:
            seen.add("began", number)
            await gate.wait()
            return number

        clients = [
            await stack.enter_async_context(await hisock.async_connect(server.addr))
            for _ in range(CLIENTS)
        ]
        calls = [
            asyncio.ensure_future(client.call("work", number, int))
            for number, client in enumerate(clients)
        ]
        await seen.until_named("began", 3)
        await three_pending(server)
        began = {number for (number,) in seen.named("began")}
        assert len(began) == 3
        cancelled = next(number for number in range(CLIENTS) if number not in began)
        calls[cancelled].cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(calls[cancelled])
        # Ordinary commands wait behind what was not started; questions do not.
        await clients[cancelled].get_client(clients[0].get_client_addr())
        gate.set()
        others = [number for number in range(CLIENTS) if number != cancelled]
        assert await within(asyncio.gather(*(calls[n] for n in others))) == others
        assert await clients[cancelled].call("work", 9, int) == 9
        assert {number for (number,) in seen.named("began")} == {*others, 9}
        assert server.stats().buffered_bytes == 0


@on_loops
async def test_a_server_that_closes_starts_none_of_them() -> None:
    seen = Seen()
    async with contextlib.AsyncExitStack() as stack:
        server = hisock.HiSockServer(LOOPBACK, max_buffered=ROOM, announce="none")
        async with server:

            @server.on("work", concurrent=True)
            async def work(client: hisock.ClientInfo) -> None:
                seen.add("began")
                await asyncio.Event().wait()

            for _ in range(CLIENTS):
                client = await hisock.async_connect(server.addr)
                await stack.enter_async_context(client)
                client.send("work")
            await three_pending(server)
        assert len(seen.named("began")) == 3
        assert server.stats().buffered_bytes == 0


@on_loops
async def test_long_messages_of_ordered_handlers_are_counted_while_they_run_and_stay_in_order() -> (
    None
):
    """Their clients left, and came back with more: nothing counted what the handlers held."""
    seen, gate, long = Seen(), asyncio.Event(), 200_000
    async with hisock.HiSockServer(LOOPBACK, max_buffered=4 * long, announce="none") as server:

        @server.on("work")
        async def work(client: hisock.ClientInfo, message: bytes) -> None:
            seen.add("began", client.name, len(message))
            await gate.wait()
            seen.add("ended", client.name, len(message))

        for number in range(3):
            async with await hisock.async_connect(server.addr, name=str(number)) as client:
                client.send("work", bytes(long))
                client.send("work", b"next")
                await client.drain()
        await seen.until_named("began", 1)
        while server.stats().memory["pending"] < 2 * long:
            await turns(1)
        assert seen.named("began") == [("0", long)]
        assert long < server.stats().memory["concurrent"] < 2 * long
        gate.set()
        await seen.until_named("ended", 6)
        for number in range(3):
            of_it = [size for name, size in seen.named("ended") if name == str(number)]
            assert of_it == [long, len(b"next")]
        while server.stats().connections:
            await turns(1)
        assert sum(server.stats().memory.values()) == 0
