"""What one read may start at once, and what an async client may have under way."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from support import Peer, command_frame, frame

import hisock
from hisock._runtime.turns import MOST_FRAMES, Queue

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


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(200_000):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it never came to that")


def task_frame(number: int) -> bytes:
    return command_frame("task", b"%d" % number)


def plain_frame(number: int) -> bytes:
    """A call of a plain handler, which is answered at once: many of these are not much."""
    return frame(b"$CALL$%d$CMD$plain$MSG$%d" % (number, number))


def call_frame(number: int) -> bytes:
    return frame(b"$CALL$%d$CMD$task$MSG$%d" % (number, number))


@pytest.mark.parametrize("make", [task_frame, call_frame])
@pytest.mark.parametrize("admitted", [True, False])
def test_what_frames_of_one_read_cost_is_spread_over_iterations(
    make: Callable[[int], bytes], admitted: bool
) -> None:
    async def play() -> None:
        seen: list[tuple[int, int]] = []
        turning = Turning()
        every, go_on = asyncio.Event(), asyncio.Event()
        async with hisock.HiSockServer(ADDR) as server:

            @server.authenticate
            async def authenticate(name: str | None) -> None:
                if not admitted:
                    await go_on.wait()

            def note(number: int) -> None:
                seen.append((turning.turn, number))
                if len(seen) == FRAMES:
                    every.set()

            @server.on("task", concurrent=True)
            async def task(client: hisock.ClientInfo, number: int) -> None:
                note(number)

            with Peer(server.addr) as peer:
                peer.reserved("CLTHELLO", json.dumps({"name": "x", "features": ["call"]}))
                if admitted:
                    await until(lambda: len(server) == 1)
                peer.write(b"".join(make(number) for number in range(FRAMES)))
                if not admitted:
                    await until(lambda: server.stats().memory["admission"] > 1000 * 100)
                go_on.set()
                await asyncio.wait_for(every.wait(), 30)
        await turning.end()
        assert [number for _, number in seen] == list(range(FRAMES))
        most = max(Counter(turn for turn, _ in seen).values())
        assert most <= 2 * MOST_FRAMES, "an iteration here may fall between two of the server's"

    asyncio.run(play())


def test_parts_of_all_replies_take_turns() -> None:
    async def play() -> None:
        queue, turning = Queue(most=3), Turning()
        seen: list[int] = []

        async def send() -> None:
            for _ in range(4):
                await queue.wait()
                seen.append(turning.turn)

        tasks = [asyncio.ensure_future(send()) for _ in range(10)]
        tasks[4].cancel()
        await asyncio.wait(tasks)
        await turning.end()
        assert len(seen) == 9 * 4
        assert max(Counter(seen).values()) <= 2 * 3, "an iteration here may be two of the queue's"

    asyncio.run(play())


def test_a_lost_connection_that_was_replaced_counts_no_longer() -> None:
    """It did, until its handler had ended: one client could take all the places of others."""

    async def play() -> None:
        begun, never = asyncio.Event(), asyncio.Event()
        async with hisock.HiSockServer(ADDR, announce="none") as server:

            @server.on("stay")
            async def stay(client: hisock.ClientInfo) -> None:
                begun.set()
                await never.wait()

            def joined(count: int) -> bool:
                return server.stats().joins == count

            hello = json.dumps({"name": "Ada", "features": ["ack"], "resume": "secret"})
            for number in range(1, 6):
                with Peer(server.addr) as peer:
                    peer.reserved("CLTHELLO", hello)
                    peer.reserved("SEND", f"{number}$CMD$stay")
                    await asyncio.wait_for(begun.wait(), 30)
                    await until(partial(joined, number))
            with Peer(server.addr) as peer:
                peer.reserved("CLTHELLO", hello)
                await until(partial(joined, 6))
                await until(lambda: server.stats().connections == 1)

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
