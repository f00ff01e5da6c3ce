"""While all clients together have very many tasks, those with a few go on, and the others wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest
from support.memory import MemoryPeer, settle
from support.polling import until

import hisock
from hisock._runtime import concurrency

ADDR = ("127.0.0.1", 0)
EACH = 12
GREEDY = ("Ann", "Ben", "Cay")


def test_clients_with_many_tasks_wait_and_those_with_few_start_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(concurrency, "MANY", 20)
    monkeypatch.setattr(concurrency, "FEW", 2)
    running: Counter[str | None] = Counter()
    begun: dict[str | None, list[int]] = {}

    async def play() -> None:
        go_on = asyncio.Event()
        async with hisock.HiSockServer(ADDR) as server, contextlib.AsyncExitStack() as stack:

            @server.on("task", concurrent=True)
            async def task(client: hisock.ClientInfo, number: int) -> None:
                begun.setdefault(client.name, []).append(number)
                running[client.name] += 1
                await go_on.wait()
                running[client.name] -= 1

            @server.on("ask")
            def ask(client: hisock.ClientInfo) -> str:
                return "answer"

            async def join(name: str) -> hisock.AsyncHiSockClient:
                return await stack.enter_async_context(hisock.async_connect(server.addr, name))

            for name in GREEDY:
                client = await join(name)
                for number in range(EACH):
                    client.send("task", number)
            await until(lambda: sum(running.values()) >= 20)
            late = await join("Dot")
            for number in range(EACH):
                late.send("task", number)
            await until(lambda: min(running[name] for name in (*GREEDY, "Dot")) >= 2)
            assert await (await join("Eve")).call("ask", None, str, timeout=30) == "answer"
            assert running["Dot"] == 2
            assert sum(running.values()) <= 24
            go_on.set()
            await until(lambda: sum(map(len, begun.values())) == 4 * EACH)
            await until(lambda: not sum(running.values()))

    asyncio.run(asyncio.wait_for(play(), 60))
    assert begun == {name: list(range(EACH)) for name in (*GREEDY, "Dot")}


def test_a_client_gains_no_tasks_by_coming_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "MANY", 10)
    monkeypatch.setattr(concurrency, "FEW", 2)
    running = begun = 0

    async def play() -> None:
        go_on, go_on_too = asyncio.Event(), asyncio.Event()
        async with hisock.HiSockServer(ADDR) as server:

            @server.on("task", concurrent=True)
            async def task(client: hisock.ClientInfo, number: int) -> None:
                nonlocal running, begun
                running, begun = running + 1, begun + 1
                await (go_on if number < 9 else go_on_too).wait()
                running -= 1

            for _ in range(5):
                peer = MemoryPeer(server, "Ann")
                for _ in range(EACH):
                    peer.send("task", b"1")
                await settle()
                server.disconnect_client("Ann")
                await until(lambda: not len(server))
            assert running == begun == 10
            # What it has left behind ends at last, and then it has a few again.
            peer = MemoryPeer(server, "Ann")
            peer.send("task", b"9")
            await settle()
            assert begun == 10
            go_on.set()
            await until(lambda: begun == 11)
            go_on_too.set()
            await until(lambda: not running)

    asyncio.run(asyncio.wait_for(play(), 60))


@pytest.mark.parametrize("ending", ["closes", "is cut", "is kicked"])
def test_tasks_that_wait_begin_although_their_client_left_and_not_if_it_was_thrown_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    monkeypatch.setattr(concurrency, "MANY", 1)
    monkeypatch.setattr(concurrency, "FEW", 1)
    begun: list[int] = []

    async def play() -> None:
        go_on = asyncio.Event()
        async with hisock.HiSockServer(ADDR, announce="none") as server:

            @server.on("task", concurrent=True)
            async def task(client: hisock.ClientInfo, number: int) -> None:
                begun.append(number)
                await go_on.wait()

            peer = MemoryPeer(server, "Ann")
            for number in range(3):
                peer.send("task", b"%d" % number)
            await settle()
            assert begun == [0], "the others wait until that one has ended"
            if ending == "closes":
                peer.raw(b"$USRCLOSE$")
            elif ending == "is cut":
                peer.transport.reset()
            else:
                server.disconnect_client("Ann")
            await settle()
            go_on.set()
            await until(lambda: not len(server))
            await settle()

    asyncio.run(asyncio.wait_for(play(), 60))
    assert begun == ([0] if ending == "is kicked" else [0, 1, 2])
    assert ("were dropped, unhandled" in caplog.text) == (ending == "is kicked")
