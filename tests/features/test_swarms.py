"""Many asynchronous clients on one loop: what each of them costs."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

import hisock

from .loops import LOOPBACK, Seen, on_loops, on_one_loop, turns


@on_loops
async def test_what_a_handler_sends_is_written_before_the_loop_goes_on() -> None:
    seen = Seen()
    async with (
        hisock.HiSockServer(LOOPBACK) as server,
        await hisock.async_connect(server.addr, "Ada") as ada,
    ):

        @ada.on("ping")
        def ping(message: bytes) -> None:
            outbox = ada._driver.session.outbox
            asyncio.get_running_loop().call_soon(lambda: seen.add("left", outbox.size))
            ada.send("pong", message)
            seen.add("queued", outbox.size > 0)

        await turns(8)  # what comes before a program had its turn to register handlers is held
        server.send_client("Ada", "ping", b"x")
        await seen.until_named("left")
    assert seen.seen == [("queued", True), ("left", 0)]


@on_loops
async def test_clients_of_one_loop_share_what_they_receive_into() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("sizes")
        def sizes(client: hisock.ClientInfo, count: int) -> bytes:
            return bytes([count]) * (count * 1000)

        bots = await asyncio.gather(*(hisock.async_connect(server.addr) for _ in range(20)))
        replies = await asyncio.gather(*(bot.call("sizes", n) for n, bot in enumerate(bots)))
        assert replies == [bytes([n]) * (n * 1000) or None for n in range(20)]
        buffers = [memoryview(bot._driver.session.get_buffer(-1)).obj for bot in bots]
        assert all(buffer is buffers[0] for buffer in buffers)
        await asyncio.gather(*(bot.close() for bot in bots))


@on_one_loop
async def test_an_idle_client_is_small() -> None:
    """A buffer and a thread pool of its own took 80 KB more; empty queues took 10 KB."""
    async with hisock.HiSockServer(LOOPBACK, announce="none") as server:
        async with await hisock.async_connect(server.addr):
            gc.collect()
            tracemalloc.start()
            try:
                before, _ = tracemalloc.get_traced_memory()
                bots = [await hisock.async_connect(server.addr) for _ in range(20)]
                gc.collect()
                after, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        # The server's side of each is in this process too.
        assert (after - before) / 20 < 30_000
        await asyncio.gather(*(bot.close() for bot in bots))
