"""What one read may start at once, and what an async client may have under way."""

from __future__ import annotations

import asyncio
from collections import Counter

from support import Peer, command_frame

import hisock
from hisock._runtime.turns import MOST_STARTS

ADDR = ("127.0.0.1", 0)
#: What fits into one read.
FRAMES = 2000


class Turning:
    """Counts the iterations of the loop that runs."""

    def __init__(self) -> None:
        self.turn = 0
        self._done = False
        self._task = asyncio.ensure_future(self._count())

    async def _count(self) -> None:
        while not self._done:
            self.turn += 1
            await asyncio.sleep(0)

    async def end(self) -> None:
        self._done = True
        await self._task


def test_one_read_starts_a_bounded_number_of_tasks_in_one_iteration() -> None:
    async def play() -> None:
        seen: list[tuple[int, int]] = []
        turning = Turning()
        every = asyncio.Event()
        async with hisock.HiSockServer(ADDR) as server:

            @server.on("task", concurrent=True)
            async def task(client: hisock.ClientInfo, number: int) -> None:
                seen.append((turning.turn, number))
                if len(seen) == FRAMES:
                    every.set()

            with Peer(server.addr) as peer:
                greeted = asyncio.get_running_loop().run_in_executor(None, peer.hello, "flood")
                await greeted
                peer.write(b"".join(command_frame("task", b"%d" % i) for i in range(FRAMES)))
                await asyncio.wait_for(every.wait(), 30)
        await turning.end()
        assert [number for _, number in seen] == list(range(FRAMES))
        most = max(Counter(turn for turn, _ in seen).values())
        assert most <= 2 * MOST_STARTS, "an iteration here may fall between two of the server's"

    asyncio.run(play())


def test_a_client_has_a_bounded_number_of_concurrent_tasks() -> None:
    async def play() -> None:
        running, most, ended = 0, 0, 0
        go_on, every, full = asyncio.Event(), asyncio.Event(), asyncio.Event()
        async with (
            hisock.HiSockServer(ADDR, send_buffer=64 * 1024 * 1024) as server,
            hisock.async_connect(server.addr, "Ada") as ada,
        ):

            @ada.on("task", concurrent=True)
            async def task() -> None:
                nonlocal running, most, ended
                running += 1
                most = max(most, running)
                if running > 8192:
                    full.set()
                await go_on.wait()
                running -= 1
                ended += 1
                if ended == 10_000:
                    every.set()

            for _ in range(10_000):
                server.send_client("Ada", "task")
            await asyncio.wait_for(full.wait(), 30)
            for _ in range(200):
                await asyncio.sleep(0)
            assert most == running == 8193
            go_on.set()
            await asyncio.wait_for(every.wait(), 30)
            assert most <= 8193

    asyncio.run(play())
