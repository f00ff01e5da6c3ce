"""Many asynchronous clients on one loop: what each of them costs."""

from __future__ import annotations

import asyncio

import hisock

from .loops import LOOPBACK, Seen, on_loops, turns


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
