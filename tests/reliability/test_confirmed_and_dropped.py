"""Confirmed messages whose handlers had not begun when the server ended their connection."""

from __future__ import annotations

import asyncio
import threading

import pytest
from support.events import PATIENCE
from support.memory import MemoryPeer, settle
from support.polling import until

import hisock
from hisock._runtime import concurrency, work

ADDR = ("127.0.0.1", 0)
NUMBERS = range(1, 7)


def join(server: hisock.HiSockServer) -> MemoryPeer:
    """Come, or come back, and send all that is not confirmed."""
    peer = MemoryPeer(server, "Ada", resume="secret", features=["call", "ack"])
    for number in NUMBERS:
        peer.raw(b"$SEND$%d$CMD$do$MSG$%d" % (number, number))
    return peer


def handle_in_threads(
    server: hisock.HiSockServer, begun: list[int], go_on: threading.Event
) -> None:
    """Write down what has begun, and wait."""

    @server.on("do", threaded=True)
    def do(client: hisock.ClientInfo, number: int) -> None:
        begun.append(number)
        go_on.wait(PATIENCE)


def is_confirmed(peer: MemoryPeer) -> bool:
    return b"$ACK$%d" % NUMBERS[-1] in peer.named(None)


def test_held_tasks_are_begun_when_their_messages_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(concurrency, "MANY", 2)
    monkeypatch.setattr(concurrency, "FEW", 1)
    begun: list[int] = []

    async def play() -> None:
        go_on = asyncio.Event()
        async with hisock.HiSockServer(ADDR, connection_rate=None) as server:

            @server.on("do", concurrent=True)
            async def do(client: hisock.ClientInfo, number: int) -> None:
                begun.append(number)
                await go_on.wait()

            join(server)
            await settle()
            assert begun == [1, 2]
            join(server)  # replaces it, and what was held is dropped
            await settle()
            last = join(server)
            go_on.set()
            await until(lambda: is_confirmed(last))

    asyncio.run(asyncio.wait_for(play(), PATIENCE))
    assert begun == list(NUMBERS)


def test_queued_work_is_begun_when_its_messages_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "FAIR_SHARE", 1)
    begun: list[int] = []
    go_on = threading.Event()

    async def play() -> None:
        async with hisock.HiSockServer(ADDR, connection_rate=None) as server:
            handle_in_threads(server, begun, go_on)
            first = join(server)
            await until(lambda: begun)
            server._hub.leave(first.connection, "memory", "memory is short", at_once=True)
            again = join(server)
            await settle()
            go_on.set()
            await until(lambda: is_confirmed(again))

    asyncio.run(asyncio.wait_for(play(), PATIENCE))
    assert begun == list(NUMBERS)


def test_what_came_again_before_it_was_dropped_comes_a_third_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "FAIR_SHARE", 1)
    begun: list[int] = []
    go_on = threading.Event()

    async def play() -> None:
        async with hisock.HiSockServer(ADDR, connection_rate=None, max_buffered=20_000) as server:
            handle_in_threads(server, begun, go_on)
            join(server).transport.abort()  # what it has queued stays
            await until(lambda: begun)
            again = join(server)
            await settle()
            hog = MemoryPeer(server, "hog")
            hog.transport.write(b"%-16d" % 60_000 + bytes(30_000))
            await until(lambda: again.ended)
            last = join(server)
            go_on.set()
            await until(lambda: is_confirmed(last))

    asyncio.run(asyncio.wait_for(play(), PATIENCE))
    assert begun == list(NUMBERS)


def test_observers_hear_once_of_what_was_dropped_and_came_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(concurrency, "MANY", 2)
    monkeypatch.setattr(concurrency, "FEW", 1)
    heard: list[int] = []

    async def play() -> None:
        go_on = asyncio.Event()
        async with hisock.HiSockServer(ADDR, connection_rate=None, cache_size=0) as server:

            @server.on("do", concurrent=True)
            async def do(client: hisock.ClientInfo, number: int) -> None:
                await go_on.wait()

            @server.on("message")
            async def message(client: hisock.ClientInfo, command: str, number: int) -> None:
                heard.append(number)

            join(server)
            await settle()
            last = join(server)  # replaces it, and what was held is dropped
            go_on.set()
            await until(lambda: is_confirmed(last))
            assert [entry.content for entry in server.get_cache()] == [b"%d" % n for n in NUMBERS]

    asyncio.run(asyncio.wait_for(play(), PATIENCE))
    assert heard == list(NUMBERS)


def test_observers_that_were_dropped_hear_when_the_message_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "FAIR_SHARE", 1)
    begun: list[int] = []
    heard: list[int] = []
    go_on = threading.Event()

    async def play() -> None:
        async with hisock.HiSockServer(ADDR, connection_rate=None) as server:
            handle_in_threads(server, begun, go_on)

            @server.on("message", threaded=True)
            def message(client: hisock.ClientInfo, command: str, number: int) -> None:
                heard.append(number)

            first = join(server)
            await until(lambda: begun)
            server._hub.leave(first.connection, "memory", "memory is short", at_once=True)
            again = join(server)
            await settle()
            go_on.set()
            await until(lambda: is_confirmed(again) and len(heard) >= len(NUMBERS) - 1)

    asyncio.run(asyncio.wait_for(play(), PATIENCE))
    assert sorted(heard) == list(NUMBERS[1:]), "the first is being handled, and is not begun again"
