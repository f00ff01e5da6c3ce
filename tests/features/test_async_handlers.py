"""``async def`` handlers of a server: their order, their errors, their end."""

from __future__ import annotations

import asyncio
import inspect
import time

import pytest
from support import Events
from support.events import PATIENCE
from support.fixtures import MakePeer, MakeServer
from support.logs import logged

import hisock

from .loops import LOOPBACK, Seen, on_loops, on_one_loop, turns, within

# Order


@on_loops
async def test_handlers_of_one_client_run_one_after_the_other() -> None:
    seen = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("slow")
        async def slow(client: hisock.ClientInfo, number: int) -> None:
            seen.add("began", number)
            await turns(20 - number)  # the later ones would overtake the earlier ones
            seen.add("ended", number)

        @server.on("quick")
        def quick(client: hisock.ClientInfo, number: int) -> None:
            seen.add("quick", number)

        async with await hisock.async_connect(server.addr) as client:
            for number in range(10):
                client.send("slow", number)
                client.send("quick", number)
            await seen.until_named("quick", 10)
    wanted = [(what, n) for n in range(10) for what in ("began", "ended", "quick")]
    assert seen.seen == wanted


@on_loops
async def test_concurrent_handlers_run_at_the_same_time() -> None:
    seen = Seen()
    everybody_is_here = asyncio.Event()
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("meet", concurrent=True)
        async def meet(client: hisock.ClientInfo, number: int) -> None:
            seen.add("came", number)
            if len(seen.named("came")) == 10:
                everybody_is_here.set()
            await everybody_is_here.wait()
            seen.add("met", number)

        async with await hisock.async_connect(server.addr) as client:
            for number in range(10):
                client.send("meet", number)
            await seen.until_named("met", 10)
    assert seen.named("came") == [(n,) for n in range(10)]


@on_loops
async def test_a_handler_that_waits_holds_up_its_own_client_only() -> None:
    seen = Seen()
    gate = asyncio.Event()
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("wait")
        async def wait(client: hisock.ClientInfo) -> None:
            await gate.wait()
            seen.add("waited")

        @server.on("open")
        def open_gate(client: hisock.ClientInfo) -> str:
            seen.add("opened", client.name)
            gate.set()
            return "done"

        async with (
            await hisock.async_connect(server.addr, "Ada") as ada,
            await hisock.async_connect(server.addr, "Bob") as bob,
        ):
            ada.send("wait")
            ada.send("open")
            assert await bob.call("open", None, str) == "done"
            await seen.until_named("opened", 2)
    assert seen.seen == [("opened", "Bob"), ("waited",), ("opened", "Ada")]


@on_one_loop
async def test_more_messages_than_are_kept_stay_in_order() -> None:
    numbers: list[int] = []
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("count")
        async def count(client: hisock.ClientInfo, number: int) -> None:
            await asyncio.sleep(0)
            numbers.append(number)

        @server.on("sum")
        def total(client: hisock.ClientInfo) -> int:
            return len(numbers)

        async with await hisock.async_connect(server.addr) as client:
            for number in range(6000):
                client.send("count", number)
            assert await client.call("sum", None, int, timeout=30) == 6000
    assert numbers == list(range(6000))


@on_loops
async def test_what_a_client_sends_waits_for_its_async_join() -> None:
    seen = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("join")
        async def join(client: hisock.ClientInfo) -> None:
            await turns(10)
            seen.add("joined", client.name)

        @server.on("leave")
        async def leave(client: hisock.ClientInfo) -> None:
            await turns(10)
            seen.add("left", client.name)

        @server.on("move")
        def move(client: hisock.ClientInfo) -> None:
            seen.add("moved", client.name)

        async with await hisock.async_connect(server.addr, "Ada") as ada:
            ada.send("move")
            await seen.until_named("moved")
        await seen.until_named("left")
    assert seen.seen == [("joined", "Ada"), ("moved", "Ada"), ("left", "Ada")]


@on_loops
async def test_every_reserved_event_may_be_async() -> None:
    seen = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("name_change")
        async def renamed(client: hisock.ClientInfo, old: str, new: str) -> None:
            await turns(3)
            seen.add("name_change", old, new)

        @server.on("group_change")
        async def moved(client: hisock.ClientInfo, old: str, new: str) -> None:
            await turns(2)
            seen.add("group_change", old, new)

        @server.on("message")
        async def message(client: hisock.ClientInfo, command: str, content: str) -> None:
            await turns(1)
            seen.add("message", command, content)

        @server.on("*")
        async def anything(client: hisock.ClientInfo, command: str, content: str) -> None:
            await turns(5)
            seen.add("*", command, content)

        async with await hisock.async_connect(server.addr, "Ada", "red") as ada:
            ada.change_name("Bob")
            ada.change_group("blue")
            ada.send("hello", "there")
            await seen.until_named("*")
            await seen.until_named("message")
    assert seen.named("name_change") == [("Ada", "Bob")]
    assert seen.named("group_change") == [("red", "blue")]
    assert seen.named("message") == [("hello", "there")]
    assert seen.named("*") == [("hello", "there")]


def test_what_came_before_a_client_closed_is_still_handled(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()

    @server.on("count")
    async def count(client: hisock.ClientInfo, number: int) -> None:
        await turns(5)
        events.add("count", number)

    server.on("leave")(lambda client: events.add("leave"))
    server.start()
    for times, way in enumerate(("goodbye", "end"), 1):
        peer = make_peer(server)
        for number in range(5):
            peer.send("count", str(number))
        if way == "goodbye":
            peer.reserved("USRCLOSE")
        peer.end_writing()
        events.wait_for("leave", count=times)
        peer.close()
        assert events.seen == [*(("count", n) for n in range(5)), ("leave",)] * times


def test_what_came_before_a_reset_is_still_handled(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    gate = asyncio.Event()

    @server.on("count")
    async def count(client: hisock.ClientInfo, number: int) -> None:
        events.add("count", number)
        await gate.wait()

    server.on("reset came")(lambda client: gate.set())
    server.on("leave")(lambda client: events.add("leave"))
    server.start()
    peer, other = make_peer(server, "Ada"), make_peer(server)
    # One write, so that the server has read all five when it handles the first.
    peer.write(b"".join(count_frame(number) for number in range(5)))
    events.wait_for("count", 0)
    peer.reset()
    with pytest.raises(hisock.ClientNotFound):  # once the reset has been seen
        send_until_refused(server, "Ada")
    other.send("reset came")
    events.wait_for("count", 4)
    events.wait_for("leave")
    assert [event[0] for event in events.seen] == ["count"] * 5 + ["leave"]


def send_until_refused(server: hisock.HiSockServer, name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        server.send_client(name, "anything")


def count_frame(number: int) -> bytes:
    payload = b"$CMD$count$MSG$%d" % number
    return str(len(payload)).encode().ljust(16) + payload


# Errors


@on_loops
async def test_errors_are_reported_and_the_next_message_is_handled() -> None:
    errors: list[Exception] = []
    server = hisock.HiSockServer(LOOPBACK)

    @server.on("fail")
    async def fail(client: hisock.ClientInfo, number: int) -> None:
        await turns(3)
        raise RuntimeError(f"no luck with {number}")

    @server.on("ping")
    def ping(client: hisock.ClientInfo) -> str:
        return "pong"

    serving = asyncio.ensure_future(server.serve(error_handler=errors.append))
    with logged("hisock.server") as log:
        async with await hisock.async_connect(server.addr, "Ada") as ada:
            ada.send("fail", 1)
            ada.send("fail", "one")  # the message does not fit: the handler is not started
            ada.send("fail", 2)
            assert await ada.call("ping", None, str) == "pong"
    server.close()
    await within(serving)
    assert [type(error) for error in errors] == [
        RuntimeError,
        hisock.InvalidTypeCast,
        RuntimeError,
    ]
    assert [str(errors[0]), str(errors[2])] == ["no luck with 1", "no luck with 2"]
    assert len(log.messages) == 3
    assert "'fail'" in log.messages[0]
    assert "Ada" in log.messages[0]


def test_an_async_handler_cannot_be_threaded_and_a_plain_one_not_concurrent(
    make_server: MakeServer,
) -> None:
    server = make_server()

    async def asynchronous(client: hisock.ClientInfo) -> None: ...

    def plain(client: hisock.ClientInfo) -> None: ...

    with pytest.raises(TypeError, match="async"):
        server.on("x", threaded=True)(asynchronous)
    with pytest.raises(TypeError, match="concurrent"):
        server.on("x", concurrent=True)(plain)


def test_decorated_handlers_stay_what_they_are(make_server: MakeServer) -> None:
    server = make_server()

    async def asynchronous(client: hisock.ClientInfo) -> None: ...

    assert server.on("x")(asynchronous) is asynchronous
    assert inspect.iscoroutinefunction(asynchronous)


def test_a_blocking_client_says_that_it_runs_no_coroutines(
    make_server: MakeServer, events: Events
) -> None:
    server = make_server()
    server.on("nothing")(lambda client: None)
    server.start()
    with hisock.connect(server.addr, "Ada") as ada:

        async def handler() -> None: ...

        refused = ""
        try:
            ada.on("go")(handler)
        except TypeError as exc:
            refused = str(exc)
        if refused:
            assert "async_connect" in refused
            return
        ada.call("nothing")
        with logged("hisock.client") as log:
            server.send_client("Ada", "go")
            server.send_client("Ada", "end")
            ada.recv("end", timeout=5)
        assert "async_connect" in log.messages[0]


# The end


@on_loops
async def test_handlers_are_cancelled_when_the_server_closes() -> None:
    seen = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:
        for options in ({}, {"concurrent": True}):

            @server.on("wait" if not options else "wait too", **options)
            async def wait(client: hisock.ClientInfo) -> None:
                seen.add("waits")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    seen.add("cancelled")
                    raise

        ada = await hisock.async_connect(server.addr)
        ada.send("wait too")
        ada.send("wait")
        await seen.until_named("waits", 2)
    assert len(seen.named("cancelled")) == 2
    await within(ada.close())


@on_loops
async def test_a_call_whose_handler_was_cancelled_is_no_longer_waited_for() -> None:
    seen = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("wait")
        async def wait(client: hisock.ClientInfo) -> None:
            seen.add("waits")
            await asyncio.Event().wait()

        ada = await hisock.async_connect(server.addr)
        call = asyncio.ensure_future(ada.call("wait", timeout=None))
        await seen.until_named("waits")
    with pytest.raises((hisock.ConnectionLost, hisock.RemoteError)):
        await within(call)
    await within(ada.close())


@on_one_loop
async def test_a_handler_that_will_not_be_cancelled_does_not_keep_the_server() -> None:
    seen = Seen()
    released = asyncio.Event()
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("wait")
        async def wait(client: hisock.ClientInfo) -> None:
            seen.add("waits")
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    seen.add("cancelled")

        ada = await hisock.async_connect(server.addr)
        ada.send("wait")
        await seen.until_named("waits")
    assert seen.named("cancelled")
    released.set()
    await within(ada.close())
    await turns(3)
