"""Async clients that are given up, hung up on, or used on another loop than their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import hisock

from .echoing import echoing
from .loops import on_loops, turns, within
from .wire import HandServer


async def in_thread(func: Any, *args: Any) -> Any:
    """Something that blocks, beside the loop."""
    return await within(asyncio.get_running_loop().run_in_executor(None, func, *args))


@on_loops
async def test_a_cancelled_connect_is_cancelled_wherever_it_was_and_leaves_nobody() -> None:
    async with echoing() as server:

        async def connect() -> hisock.AsyncHiSockClient:
            return await hisock.async_connect(server.addr, "Ada")

        complete = 0
        for number in range(40):
            connecting = asyncio.get_running_loop().create_task(connect())
            await turns(number)
            if connecting.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await connecting
            else:
                await (await connecting).close()
                complete += 1
        assert complete < 40
        while server.stats().connections:
            await within(asyncio.sleep(0.001))


@on_loops
async def test_what_would_never_wake_on_another_loop_is_refused() -> None:
    async with echoing() as server, await hisock.async_connect(server.addr, "Ada") as ada:

        async def one() -> None:
            async for _ in ada:
                pass

        asking = (lambda: ada.get_client("Ada"), one, ada.drain, ada.wait_closed)
        for ask in asking:
            with pytest.raises(RuntimeError, match="another event loop"):
                await in_thread(lambda ask=ask: asyncio.run(ask()))


@on_loops
async def test_a_server_that_hangs_up_at_once_uses_up_the_attempts() -> None:
    with HandServer() as by_hand:
        patience = hisock.Reconnect(initial=0.001, maximum=0.001, attempts=3)
        connecting = hisock.async_connect(by_hand.addr, reconnect=patience)
        client, peer = await by_hand.serve(connecting)

        def hang_up() -> None:
            peer.close()
            for _ in range(3):
                by_hand.listener.accept()[0].close()

        await in_thread(hang_up)
        await within(client.wait_closed())
        with pytest.raises(hisock.ConnectionLost, match="gave up after 3"):
            client.send("anything")
