"""Frames and replies that come just when whoever waits for them gives up, or waits elsewhere."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
from support.events import PATIENCE
from support.fixtures import MakeClient, MakeServer

import hisock

from .loops import LOOPBACK, Seen, on_loops, within


async def joined(server: hisock.HiSockServer) -> hisock.AsyncHiSockClient:
    """A client that the server knows, and that has read what it was told until now."""
    client = await hisock.async_connect(server.addr, "Ada")
    with pytest.raises(hisock.RemoteError):
        await client.call("nothing")
    return client


def hold_the_loop(seconds: float) -> None:
    """What a slow handler does: everything that is due meanwhile comes in one turn."""
    asyncio.get_running_loop().call_soon(time.sleep, seconds)


@on_loops
async def test_a_frame_in_the_turn_of_the_time_out_answers_this_recv_or_the_next() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server, await joined(server) as client:
        for number in range(10):
            waiting = asyncio.ensure_future(client.recv("n", int, timeout=0.02))
            await asyncio.sleep(0.01)
            server.send_all_clients("n", number)
            hold_the_loop(0.03)
            try:
                got = await waiting
            except TimeoutError:
                got = await client.recv("n", int, timeout=PATIENCE)
            assert got == number


@on_loops
async def test_a_frame_in_the_turn_of_a_cancellation_is_there_for_the_next_recv() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server, await joined(server) as client:
        for number in range(10):
            waiting = asyncio.ensure_future(client.recv("n", int))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.01, waiting.cancel)
            server.send_all_clients("n", number)
            server.send_all_clients("n", -number)
            hold_the_loop(0.02)
            try:
                got = await waiting
            except asyncio.CancelledError:
                got = await client.recv("n", int, timeout=PATIENCE)
            assert got == number, "what was sent first comes first"
            assert await client.recv("n", int, timeout=PATIENCE) == -number


async def cancelled_when_served(client: hisock.AsyncHiSockClient, send: Callable[[], None]) -> None:
    """A ``recv`` that is cancelled after its frame was delivered, before it could return."""
    waiting = asyncio.ensure_future(client.recv("n"))
    await asyncio.sleep(0)
    events = client._driver.events
    offer = events.waiting.offer

    def deliver_and_cancel(frame: object) -> bool:
        delivered = offer(frame)  # type: ignore[arg-type]
        waiting.cancel()
        return delivered

    events.waiting.offer = deliver_and_cancel  # type: ignore[method-assign]
    try:
        send()
        with pytest.raises(asyncio.CancelledError):
            await within(waiting)
    finally:
        events.waiting.offer = offer  # type: ignore[method-assign]


@on_loops
async def test_what_a_cancelled_recv_had_goes_to_the_wildcard() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server, await joined(server) as client:
        seen = Seen()

        @client.on("*")
        def rest(command: str, message: bytes) -> None:
            seen.add(command, message)

        def send() -> None:
            server.send_all_clients("n", b"1")

        await cancelled_when_served(client, send)
        assert await seen.until_named("n") == (b"1",)


@on_loops
async def test_what_a_cancelled_recv_had_comes_first_in_async_for() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server, await joined(server) as client:
        frames = client.__aiter__()
        server.send_all_clients("first")
        assert (await within(frames.__anext__()))[0] == "first"

        def send() -> None:
            server.send_all_clients("n", b"1")
            server.send_all_clients("n", b"2")

        await cancelled_when_served(client, send)
        assert await within(frames.__anext__()) == ("n", b"1")
        assert await within(frames.__anext__()) == ("n", b"2")


@pytest.mark.parametrize("how", ["call", "wait_for"])
def test_waiting_for_a_server_on_another_loop_says_what_to_do(
    make_server: MakeServer, make_client: MakeClient, how: str
) -> None:
    server = make_server()
    server.start()
    client = make_client(server, "Ada")
    client.on("ping")(lambda: 1)
    client.start()
    with pytest.raises(hisock.RemoteError):
        client.call("joined", timeout=PATIENCE)

    async def main() -> None:
        if how == "call":
            with pytest.raises(RuntimeError, match=r"to_thread\(server\.call_blocking"):
                await server.call("Ada", "ping")
            reply = await asyncio.to_thread(server.call_blocking, "Ada", "ping", None, int)
            assert reply == 1
        else:
            with pytest.raises(RuntimeError, match=r"to_thread\(server\.recv"):
                await server.wait_for("ping")

    asyncio.run(main())


@on_loops
async def test_waiting_for_a_client_on_another_loop_says_what_to_do() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server, await joined(server) as client:

        def elsewhere() -> None:
            for wait in (client.recv, client.call):
                with pytest.raises(RuntimeError, match="run_coroutine_threadsafe"):
                    asyncio.run(wait("x", timeout=1.0))

        await asyncio.to_thread(elsewhere)


def test_first_calls_from_several_threads_get_their_own_replies(
    make_server: MakeServer, make_client: MakeClient
) -> None:
    server = make_server()
    server.start()
    for attempt in range(5):
        client = make_client(server, f"Ada {attempt}")
        client.on("echo")(echo)
        client.start()
        with pytest.raises(hisock.RemoteError):
            client.call("joined", timeout=PATIENCE)
        assert in_threads(partial(ask, server, f"Ada {attempt}")) == list(range(8))
        client.close()


def ask(server: hisock.HiSockServer, name: str, number: int) -> int:
    return server.call_blocking(name, "echo", number, int)


def echo(number: int) -> int:
    return number


def in_threads(func: Callable[[int], object]) -> list[object]:
    """The results of a function that eight threads call at once, each with its number."""
    together = threading.Barrier(8)
    results: list[object] = [None] * 8

    def run(number: int) -> None:
        together.wait(PATIENCE)
        results[number] = func(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return results


def test_a_session_is_one_for_all_threads(make_server: MakeServer, make_client: MakeClient) -> None:
    class Slow:
        def __init__(self) -> None:
            time.sleep(0.02)  # as one that loads something

    server = make_server(session=Slow)
    server.start()
    client = make_client(server, "Ada")
    with pytest.raises(hisock.RemoteError):
        client.call("joined", timeout=PATIENCE)
    sessions = in_threads(lambda number: server.session("Ada"))
    assert len(set(map(id, sessions))) == 1
    assert sessions[0] is server.session("Ada")
