"""Calls whose replies come in parts: handlers that are generators."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from support import Events
from support.fixtures import MakeServer
from support.logs import logged
from support.wire import Peer

import hisock

from .loops import within
from .wire import HandServer, modern_peer


@pytest.fixture
def server(make_server: MakeServer, events: Events) -> hisock.ThreadedHiSockServer:
    server = make_server()

    @server.on("count")
    async def count(client: hisock.ClientInfo, most: int) -> AsyncIterator[int]:
        try:
            for number in range(most):
                events.add("yields", number)
                yield number
        finally:
            events.add("closed")

    @server.on("letters")
    def letters(client: hisock.ClientInfo, word: str) -> Iterator[str]:
        yield from word

    @server.on("letters in a thread", threaded=True)
    def letters_in_a_thread(client: hisock.ClientInfo, word: str) -> Iterator[str]:
        return (letter for letter in word)

    @server.on("fail")
    async def fail(client: hisock.ClientInfo) -> AsyncIterator[int]:
        yield 1
        raise hisock.RemoteError("no more", code="empty")

    @server.on("wait")
    async def wait(client: hisock.ClientInfo) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            events.add("closed")

    @server.on("unsendable")
    async def unsendable(client: hisock.ClientInfo) -> AsyncIterator[object]:
        yield 1
        yield object()

    @server.on("value")
    def value(client: hisock.ClientInfo) -> int:
        return 5

    server.start()
    return server


@pytest.fixture
def client(server: hisock.ThreadedHiSockServer) -> Iterator[hisock.HiSockClient]:
    with hisock.connect(server.addr, name="Ada") as client:
        yield client


def run(server: hisock.ThreadedHiSockServer, use: Callable[..., object]) -> None:
    async def main() -> None:
        async with hisock.async_connect(server.addr) as client:
            await use(client)  # type: ignore[misc]

    asyncio.run(within(main()))


def test_a_blocking_client_iterates(client: hisock.HiSockClient) -> None:
    assert list(client.stream("count", 100, int)) == list(range(100))
    assert list(client.stream("letters", "stream", str)) == list("stream")
    assert list(client.stream("letters in a thread", "stream", str)) == list("stream")
    assert list(client.stream("letters", "ab")) == [b"a", b"b"]
    assert list(client.stream("count", 0, int)) == []
    assert client.call("value", None, int) == 5


def test_a_threaded_client_iterates_while_it_runs(server: hisock.ThreadedHiSockServer) -> None:
    with hisock.threaded_connect(server.addr) as client:
        client.start()
        assert list(client.stream("count", 100, int)) == list(range(100))


def test_an_async_client_iterates_over_several_at_once(
    server: hisock.ThreadedHiSockServer,
) -> None:
    async def use(client: hisock.AsyncHiSockClient) -> None:
        async def numbers(most: int) -> list[int]:
            return [number async for number in client.stream("count", most, int)]

        found = await asyncio.gather(numbers(50), numbers(3), numbers(0), numbers(200))
        assert list(found) == [list(range(most)) for most in (50, 3, 0, 200)]

    run(server, use)


def test_a_handler_waits_for_a_caller_that_takes_slowly(
    client: hisock.HiSockClient, events: Events
) -> None:
    parts = client.stream("count", 1000, int)
    assert next(parts) == 0
    # The answer to a call comes after all that the server could send by then.
    client.call("value")
    yielded = len(events.named("yields"))
    assert 16 <= yielded <= 18, "the window, and the one that waits to be sent"
    assert [next(parts) for _ in range(999)] == list(range(1, 1000))
    assert next(parts, None) is None


def test_what_the_handler_raises_comes_after_the_parts(client: hisock.HiSockClient) -> None:
    parts = client.stream("fail", None, int)
    assert next(parts) == 1
    with pytest.raises(hisock.RemoteError, match="no more") as raised:
        next(parts)
    assert raised.value.code == "empty"
    parts = client.stream("unsendable", None, int)
    assert next(parts) == 1
    with pytest.raises(hisock.RemoteError, match="object"):
        next(parts)
    with pytest.raises(hisock.RemoteError, match="no handler"):
        next(client.stream("nope"))


def test_who_asks_in_the_wrong_way_is_told_the_right_one(client: hisock.HiSockClient) -> None:
    with pytest.raises(hisock.RemoteError, match=r"use call\(\)"):
        next(client.stream("value"))
    with pytest.raises(hisock.RemoteError, match=r"use stream\(\)"):
        client.call("count", 3)


def test_leaving_the_loop_cancels_the_handler(client: hisock.HiSockClient, events: Events) -> None:
    for number in client.stream("count", 1000, int):
        if number == 3:
            break
    events.wait_for("closed")
    for _ in client.stream("wait", None, int):
        break
    events.wait_for("closed", count=2)
    assert client.call("value", None, int) == 5


def test_cancelling_the_task_cancels_the_handler(
    server: hisock.ThreadedHiSockServer, events: Events
) -> None:
    async def use(client: hisock.AsyncHiSockClient) -> None:
        began = asyncio.Event()

        async def take() -> None:
            async with contextlib.aclosing(client.stream("wait", None, int)) as parts:
                async for _ in parts:
                    began.set()

        task = asyncio.create_task(take())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(events.wait_for, "closed")

    run(server, use)


def test_the_end_of_the_connection_ends_the_handler_and_the_caller(
    server: hisock.ThreadedHiSockServer, events: Events
) -> None:
    client = hisock.connect(server.addr, name="Ada")
    parts = client.stream("count", 1000, int)
    assert next(parts) == 0
    server.disconnect_client("Ada")
    events.wait_for("closed")
    with pytest.raises((hisock.ConnectionLost, hisock.ClientDisconnected)):
        list(parts)
    client.close()


def test_a_part_that_does_not_come_in_time_is_a_time_out(
    client: hisock.HiSockClient, events: Events
) -> None:
    parts = client.stream("wait", None, int, timeout=0.1)
    assert next(parts) == 1
    with pytest.raises(TimeoutError, match="'wait' brought nothing"):
        next(parts)
    events.wait_for("closed")


@pytest.mark.parametrize("frame", ["$STREAM$1$CMD$count", "$MORE$1"])
def test_a_client_that_has_not_said_so_cannot_ask_for_parts(
    server: hisock.ThreadedHiSockServer, frame: str
) -> None:
    with Peer.joined(server.addr) as peer, logged("hisock.server") as log:
        peer.raw(frame.encode())
        peer.rest()
        log.wait_for_text("(protocol)")


@pytest.mark.parametrize("modern", [True, False])
def test_a_server_that_does_not_know_parts_is_not_asked(modern: bool) -> None:
    server = HandServer(modern)  # of a version with calls, and of 2.0.2
    with server, hisock.connect(server.addr) as client, server.accept() as peer:
        with pytest.raises(hisock.NotSupported, match="'x' was not sent"):
            next(client.stream("x"))
        client.send("last")
        assert peer.read().command == "last"


@pytest.mark.parametrize("first", ["STREAM", "CALL"])
@pytest.mark.parametrize("second", ["STREAM", "CALL"])
def test_a_number_that_a_stream_has_ends_the_connection_and_both_handlers(
    make_server: MakeServer, events: Events, first: str, second: str
) -> None:
    """The first had nobody left to end it, and stayed for ever."""
    if first == second == "CALL":
        pytest.skip("two calls with one number are both answered")
    server = make_server()

    @server.on("endless")
    async def endless(client: hisock.ClientInfo) -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                yield number
        finally:
            events.add("ended")

    @server.on("wait", concurrent=True)
    async def wait(client: hisock.ClientInfo) -> None:
        await asyncio.sleep(0.05)

    server.start()
    with modern_peer(server.addr, "Ada", features=["call", "stream"]) as peer:
        for kind in (first, second):
            peer.reserved(kind, "1$CMD$" + ("endless" if kind == "STREAM" else "wait"))
            if kind == first == "STREAM":
                peer.wait_for(lambda f: f.reserved == "PART")
        peer.rest()
    assert server.stats().ended["protocol"] == 1
    if first == "STREAM":
        events.wait_for("ended")
    for _ in range(1000):
        if not server.stats().memory["concurrent"]:
            return
        time.sleep(0.005)
    pytest.fail("a handler is running yet")
