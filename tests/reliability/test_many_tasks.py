"""While all clients together have very many tasks, those with a few go on, and the others wait."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter

import pytest
from support.memory import MemoryPeer, settle
from support.polling import until

import hisock
from hisock._core import account
from hisock._core.account import Bound, Use
from hisock._runtime import concurrency, work

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


@pytest.mark.parametrize("command", ["task", "held", "thread"])
def test_a_client_that_comes_back_waits_for_no_bound_of_its_old_connection(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """It waited for ever: the old connection heard no more of room for its tasks, or threads."""
    monkeypatch.setitem(account.BOUNDS, Use.CONCURRENT, Bound(2, 2**20))
    monkeypatch.setitem(account.BOUNDS, Use.QUEUED, Bound(2, 2**20))
    monkeypatch.setattr(work, "FAIR_SHARE", 1)
    if command == "held":
        monkeypatch.setattr(concurrency, "MANY", 1)
        monkeypatch.setattr(concurrency, "FEW", 1)

    async def play() -> None:
        go_on, go_on_too, seen = asyncio.Event(), threading.Event(), asyncio.Event()
        async with hisock.HiSockServer(ADDR, announce="none") as server:

            @server.on("task", concurrent=True)
            async def task(client: hisock.ClientInfo) -> None:
                await go_on.wait()

            @server.on("thread", threaded=True)
            def thread(client: hisock.ClientInfo) -> None:
                go_on_too.wait(60)

            @server.on("see")
            def see(client: hisock.ClientInfo) -> None:
                seen.set()

            hello = {"features": ["ack"], "resume": "secret"}
            peer = MemoryPeer(server, "Ann", **hello)
            kind = "thread" if command == "thread" else "task"
            for number in range(1, 7):
                peer.raw(b"$SEND$%d$CMD$%s" % (number, kind.encode()))
            await until(lambda: peer.connection.busy)
            again = MemoryPeer(server, "Ann", **hello)
            again.raw(b"$CMD$see")
            try:
                await asyncio.wait_for(seen.wait(), 30)
            finally:
                go_on.set()
                go_on_too.set()
            assert server.stats().ended == {"replaced": 1}

    asyncio.run(asyncio.wait_for(play(), 60))
