"""Many clients that join at once, and what cancelled tasks of the server's loop do to that."""

from __future__ import annotations

import asyncio

import hisock

from .loops import LOOPBACK, on_loops, within


@on_loops
async def test_more_clients_than_tasks_that_hand_sockets_over_join_at_once() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        server.on("who")(lambda client: client.name)
        joining = (hisock.async_connect(server.addr, name=str(n)) for n in range(100))
        clients = await within(asyncio.gather(*joining))
        asked = [client.call("who", None, str) for client in clients]
        assert await within(asyncio.gather(*asked)) == [str(n) for n in range(100)]
        assert len(server) == 100
        await within(asyncio.gather(*(client.close() for client in clients)))


@on_loops
async def test_clients_join_after_the_program_has_cancelled_what_hands_sockets_over() -> None:
    server = hisock.HiSockServer(LOOPBACK)
    await server.__aenter__()
    keep = asyncio.all_tasks()
    async with await hisock.async_connect(server.addr):
        handing = [task for task in asyncio.all_tasks() - keep if "HandingOver" in repr(task)]
        assert [task.cancel() for task in handing] == [True]
        async with await within(hisock.async_connect(server.addr)) as second:
            assert second.connected
    await within(server.__aexit__(None, None, None))
