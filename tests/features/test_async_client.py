"""``hisock.async_connect`` and what it gives."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from support import Peer
from support.logs import logged

import hisock

from .clients import LATER
from .echoing import echoing
from .loops import LOOPBACK, Seen, on_loops, turns, within
from .wire import HandServer

AWAY = (hisock.ConnectionLost, hisock.ClientDisconnected)


async def in_thread(func: Any, *args: Any) -> Any:
    """Something that blocks, beside the loop."""
    return await within(asyncio.get_running_loop().run_in_executor(None, func, *args))


@on_loops
async def test_handlers_plain_and_async_get_what_the_server_sends() -> None:
    seen = Seen()
    async with echoing() as server, await hisock.async_connect(server.addr, "Ada", "red") as ada:

        @ada.on("plain")
        def plain(number: int) -> None:
            seen.add("plain", number)

        @ada.on("async")
        async def asynchronous(number: int) -> None:
            await turns(10 - number)
            seen.add("async", number)

        @ada.on("client_connect")
        async def connected(info: hisock.ClientInfo) -> None:
            seen.add("connected", info.name)

        @ada.on("client_disconnect")
        def disconnected(info: hisock.ClientInfo) -> None:
            seen.add("disconnected", info.name)

        await ada.call("echo")
        (info,) = server.get_all_clients()
        assert (info.name, info.group, info.addr) == ("Ada", "red", ada.get_client_addr())
        assert ada.get_server_addr() == server.addr
        for number in range(3):
            server.send_client("Ada", "async", number)
            server.send_client("Ada", "plain", number)
        async with await hisock.async_connect(server.addr, "Bob"):
            pass
        await seen.until_named("disconnected")
    kinds = [event for event in seen.seen if event[0] in ("plain", "async")]
    assert kinds == [(kind, n) for n in range(3) for kind in ("async", "plain")]
    assert ("connected", "Bob") in seen.seen


@on_loops
async def test_concurrent_handlers_of_a_client_run_at_the_same_time() -> None:
    seen = Seen()
    async with echoing() as server, await hisock.async_connect(server.addr, "Ada") as ada:

        @ada.on("meet", concurrent=True)
        async def meet(number: int) -> int:
            seen.add("came", number)
            await seen.until_named("came", 5)
            return number

        await ada.call("echo")
        answers = asyncio.gather(*(server.call("Ada", "meet", n, int) for n in range(5)))
        assert await within(answers) == list(range(5))


@on_loops
async def test_recv_returns_the_message_as_the_type_asked_for() -> None:
    async with echoing() as server, await hisock.async_connect(server.addr) as client:
        client.send("echo", {"x": [1, 2]})
        assert await client.recv("echo", dict[str, list[int]], timeout=10) == {"x": [1, 2]}
        client.send("echo", "text")
        assert await client.recv(timeout=10) == b"text"
        client.send("echo")
        assert await client.recv("echo", timeout=10) == b""
        client.send("echo", "no number")
        with pytest.raises(hisock.InvalidTypeCast, match="echo"):
            await client.recv("echo", int, timeout=10)
        with pytest.raises(TimeoutError, match="never"):
            await client.recv("never", timeout=0)
        assert client._driver.waiting.idle


@on_loops
async def test_recv_takes_what_came_before() -> None:
    async with echoing() as server, await hisock.async_connect(server.addr) as client:
        for number in range(100):
            client.send("echo", number)
        await client.call("echo", 100)  # all 101 echoes have come before the reply
        assert [await client.recv("echo", int, 10) for _ in range(101)] == list(range(101))


@on_loops
async def test_several_tasks_wait_for_commands_of_their_own() -> None:
    async with echoing() as server, await hisock.async_connect(server.addr, "Ada") as ada:
        await ada.call("echo", b"")
        await ada.recv("echo", timeout=10)
        waiting = [asyncio.ensure_future(ada.recv(f"c{n}", int, 10)) for n in range(10)]
        anything = asyncio.ensure_future(ada.recv(None, int, 10))
        gone = asyncio.ensure_future(ada.recv("c3", int, 10))
        await turns(3)
        gone.cancel()
        for number in reversed(range(10)):
            server.send_client("Ada", f"c{number}", number)
        server.send_client("Ada", "another", 11)
        assert await within(asyncio.gather(*waiting)) == list(range(10))
        assert await within(anything) == 11


@on_loops
async def test_drain_waits_for_a_server_that_takes_its_time() -> None:
    with HandServer() as server:
        client, peer = await within(
            asyncio.gather(hisock.async_connect(server.addr), in_thread(server.accept))
        )
        await within(client.drain())
        for number in range(200):
            client.send("data", b"%04d" % number + bytes(65536))
        draining = asyncio.ensure_future(client.drain())
        await turns(10)
        assert not draining.done()
        await in_thread(_read_numbers, peer, 200)
        await within(draining)
        peer.close()
        await within(client.close())


def _read_numbers(peer: Peer, count: int) -> None:
    for number in range(count):
        message = peer.wait_for("data").message
        assert message is not None
        assert int(message[:4]) == number


@on_loops
@pytest.mark.parametrize("reconnect", [None, LATER])
async def test_drain_raises_when_the_connection_is_lost(
    reconnect: hisock.Reconnect | None,
) -> None:
    with HandServer() as server:
        connecting = hisock.async_connect(server.addr, reconnect=reconnect)
        client, peer = await within(asyncio.gather(connecting, in_thread(server.accept)))
        client.send("data", bytes(20_000_000))
        draining = asyncio.ensure_future(client.drain())
        await turns(10)
        peer.reset()
        with pytest.raises(hisock.ConnectionLost):
            await within(draining)
        if reconnect is not None:
            await within(client.drain())  # nothing is to be written
        await within(client.close())
        with pytest.raises(AWAY):
            await within(client.drain())


@on_loops
async def test_send_may_be_called_from_any_thread() -> None:
    numbers: list[int] = []
    async with hisock.HiSockServer(LOOPBACK) as server:
        seen = Seen()

        @server.on("number")
        def number(client: hisock.ClientInfo, value: int) -> None:
            numbers.append(value)
            if len(numbers) == 4000:
                seen.add("all")

        async with await hisock.async_connect(server.addr) as client:

            def send(start: int) -> None:
                for value in range(start, start + 1000):
                    client.send("number", value)

            threads = [threading.Thread(target=send, args=(n * 1000,)) for n in range(4)]
            for thread in threads:
                thread.start()
            await seen.until_named("all")
            for thread in threads:
                thread.join()
    assert sorted(numbers) == list(range(4000))
    for start in range(0, 4000, 1000):  # each thread's in its order
        mine = [n for n in numbers if start <= n < start + 1000]
        assert mine == sorted(mine)


@on_loops
async def test_get_client_tells_who_somebody_is() -> None:
    async with (
        echoing() as server,
        await hisock.async_connect(server.addr, "Ada", "red") as ada,
        await hisock.async_connect(server.addr, "Bob") as bob,
    ):
        await ada.call("echo")
        info = await bob.get_client("Ada", timeout=10)
        assert isinstance(info, hisock.ClientInfo)
        assert (info.name, info.group, info.addr) == ("Ada", "red", ada.get_client_addr())
        assert await bob.get_client(ada.get_client_addr(), True, timeout=10) == info.as_dict()
        with pytest.raises(hisock.ClientNotFound, match="Eve"):
            await bob.get_client("Eve", timeout=10)
        asked = await within(
            asyncio.gather(*(bob.get_client(n, timeout=10) for n in ("Ada", "Bob")))
        )
        assert [info["name"] for info in asked] == ["Ada", "Bob"]
        ada.change_name("Countess")
        ada.change_group(None)
        await ada.call("echo")
        assert (await bob.get_client("Countess", timeout=10))["group"] == "red"


@on_loops
async def test_errors_of_handlers_are_reported_and_the_rest_goes_on() -> None:
    errors: list[Exception] = []
    async with echoing() as server, await hisock.async_connect(server.addr, "Ada") as ada:
        ada.error_handler = errors.append

        @ada.on("fail")
        async def fail(number: int) -> None:
            await turns(2)
            raise RuntimeError(f"no luck with {number}")

        @ada.on("fail too")
        def fail_too() -> None:
            raise KeyError("too")

        @ada.on("blocking", threaded=True)
        def blocking() -> str:
            return threading.current_thread().name

        await ada.call("echo")
        with logged("hisock.client") as log:
            server.send_client("Ada", "fail", 1)
            server.send_client("Ada", "fail", "one")
            server.send_client("Ada", "fail too")
            thread = await server.call("Ada", "blocking", None, str)
        assert [type(e) for e in errors] == [RuntimeError, hisock.InvalidTypeCast, KeyError]
        assert len(log.messages) == 3
        assert thread != threading.current_thread().name


@on_loops
async def test_nobody_listening_is_server_not_running() -> None:
    with HandServer() as server:
        addr = server.addr
    with pytest.raises(hisock.ServerNotRunning, match=str(addr[1])):
        await hisock.async_connect(addr)


@on_loops
async def test_a_closed_client_does_nothing_any_more() -> None:
    async with echoing() as server:
        client = await hisock.async_connect(server.addr)
        waiting = [
            asyncio.ensure_future(client.recv("never")),
            asyncio.ensure_future(client.call("echo", timeout=None)),
        ]
        await turns(1)
        await within(asyncio.gather(client.close(), client.close()))
        assert client.closed
        assert not client.connected
        for task in waiting:
            try:
                await within(task)
            except AWAY:
                pass
            else:
                assert task is waiting[1], "nothing was sent with that command"
        with pytest.raises(hisock.ClientDisconnected):
            client.send("echo")
        with pytest.raises(hisock.ClientDisconnected):
            await client.recv("echo")
        with pytest.raises(AWAY):
            await client.call("echo")
        with pytest.raises(AWAY):
            await client.get_client("Ada")
        async for _ in client:
            raise AssertionError("it is closed")
        await within(client.close())


@on_loops
async def test_what_was_sent_before_closing_arrives() -> None:
    numbers: list[int] = []
    seen = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:
        server.on("leave")(lambda client: seen.add("leave"))

        @server.on("number")
        def number(client: hisock.ClientInfo, value: int) -> None:
            numbers.append(value)

        for count in range(1, 6):
            async with await hisock.async_connect(server.addr) as client:
                for value in range(2000):
                    client.send("number", value)
            await seen.until_named("leave", count)
            assert numbers == list(range(2000)) * count


@on_loops
async def test_close_in_a_handler_ends_the_client() -> None:
    async with echoing() as server:
        client = await hisock.async_connect(server.addr, "Ada")

        @client.on("end")
        async def end() -> None:
            await client.close()

        await client.call("echo")
        server.send_client("Ada", "end")
        await within(client.wait_closed())
        assert client.closed
        with pytest.raises(hisock.ClientDisconnected):
            client.send("echo")


@on_loops
async def test_handlers_of_a_client_are_cancelled_when_it_closes() -> None:
    seen = Seen()
    async with echoing() as server:
        async with await hisock.async_connect(server.addr, "Ada") as ada:

            @ada.on("wait")
            async def wait() -> None:
                seen.add("waits")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    seen.add("cancelled")
                    raise

            await ada.call("echo")
            server.send_client("Ada", "wait")
            await seen.until_named("waits")
        assert seen.seen == [("waits",), ("cancelled",)]


@on_loops
async def test_bytes_that_are_no_frame_end_the_connection_after_what_came_before() -> None:
    with HandServer() as server:
        client, peer = await within(
            asyncio.gather(hisock.async_connect(server.addr), in_thread(server.accept))
        )
        peer.send("fine", b"1")
        peer.write(b"x" * 16)
        assert await within(client.recv("fine")) == b"1"
        with pytest.raises(hisock.ConnectionLost, match="no frame"):
            await within(client.recv("never"))
        await within(client.close())
        peer.close()


@on_loops
async def test_a_client_that_is_closed_in_any_turn_of_a_reconnect_leaves_nothing() -> None:
    at_once = hisock.Reconnect(initial=0)
    for count in range(12):
        with HandServer() as server:
            client, peer = await server.serve(hisock.async_connect(server.addr, reconnect=at_once))
            lost = asyncio.Event()

            @client.on("disconnect")
            def disconnected(reason: str, lost: asyncio.Event = lost) -> None:
                lost.set()

            tasks = asyncio.all_tasks()
            peer.close()
            await within(lost.wait())
            await turns(count)
            await within(client.close())
            assert asyncio.all_tasks() <= tasks
