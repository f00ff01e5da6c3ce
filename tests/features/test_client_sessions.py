"""One connection of a client after the other: what ends with each, and what does not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from typing import Any

import pytest
from support.events import PATIENCE
from support.fixtures import MakeServer
from support.polling import until

import hisock

from .clients import SOON, AnyClient, Kind, Watched
from .loops import LOOPBACK, Seen, on_loops, within
from .wire import FEATURES, HandServer, Relay

# A goodbye, or a question, while a handler runs


@on_loops
@pytest.mark.parametrize("reconnect", [None, SOON])
async def test_a_goodbye_during_a_handler_is_no_loss(reconnect: Any) -> None:
    seen = Seen()
    joins: list[str | None] = []
    go_on = asyncio.Event()
    async with hisock.HiSockServer(LOOPBACK) as server:
        server.on("join")(lambda client: joins.append(client.name))

        @server.on("go")
        def go(client: hisock.ClientInfo) -> None:
            for number in range(5):
                server.send_client(client, "item", number)
            server.disconnect_client(client)

        client = await hisock.async_connect(server.addr, "Ada", reconnect=reconnect)
        client.on("force_disconnect")(lambda: seen.add("force_disconnect"))

        @client.on("item")
        async def item(number: int) -> None:
            seen.add("item", number)
            await go_on.wait()

        client.send("go")
        await seen.until_named("item")
        await until(lambda: client.closed)
        with pytest.raises(hisock.ClientDisconnected):
            client.send("go")
        go_on.set()
        await within(client.wait_closed())
        assert seen.seen == [*(("item", n) for n in range(5)), ("force_disconnect",)]
        assert joins == ["Ada"]
        await client.close()


@on_loops
async def test_a_handler_holds_up_no_keepalive_and_no_answer() -> None:
    seen = Seen()
    options: dict[str, Any] = {"keepalive_interval": 0.1, "keepalive_timeout": 0.2}
    async with (
        hisock.HiSockServer(LOOPBACK, **options) as server,
        hisock.async_connect(server.addr, "Ada") as client,
    ):

        @client.on("work")
        async def work() -> None:
            info = await client.get_client("Ada", timeout=PATIENCE)
            assert isinstance(info, hisock.ClientInfo)
            await asyncio.sleep(1)  # several times what a silent client has
            seen.add("done", info.name)

        server.send_client("Ada", "work")
        await seen.until_named("done")
        assert seen.seen == [("done", "Ada")]
        assert not client.closed
        assert server.stats().ended == {}


# async for


@on_loops
async def test_recv_after_async_for_gets_all_that_came() -> None:
    async with (
        hisock.HiSockServer(LOOPBACK) as server,
        hisock.async_connect(server.addr, "Ada") as client,
    ):
        for number in range(3000):
            server.send_client("Ada", "n", number)
        async for _ in client:
            break
        for number in range(1, 3000):
            assert await client.recv("n", int, timeout=PATIENCE) == number


@on_loops
async def test_two_iterators_share_what_comes_and_both_end() -> None:
    got: list[list[int]] = [[], []]
    async with hisock.HiSockServer(LOOPBACK) as server:
        client = await hisock.async_connect(server.addr, "Ada")

        async def read(into: list[int]) -> None:
            async for _, message in client:
                into.append(int(message or b""))

        readers = [asyncio.ensure_future(read(into)) for into in got]
        await asyncio.sleep(0)
        for number in range(100):
            server.send_client("Ada", "n", number)
        await until(lambda: sum(map(len, got)) == 100)
        await within(client.close())
        await within(asyncio.gather(*readers))
    assert sorted(got[0] + got[1]) == list(range(100))


@on_loops
async def test_async_for_is_bounded_in_bytes() -> None:
    """A server that sends large messages to a client that lags behind waits for it."""
    async with (
        hisock.HiSockServer(LOOPBACK, send_buffer=1 << 30) as server,
        hisock.async_connect(server.addr, "Ada") as client,
    ):
        for _ in range(64):
            server.send_client("Ada", "big", bytes(1 << 20))
        count = 0
        async for _ in client:
            count += 1
            if count == 1:
                await until(lambda: bool(client._driver.session.pauses))
                assert server.stats().queued_bytes > 32 << 20, "the client has read it all"
            if count == 64:
                break


# Questions


def test_a_question_that_never_left_takes_no_answer(make_server: MakeServer, kind: Kind) -> None:
    server = make_server()
    server.start()
    with (
        hisock.connect(server.addr, "Bob"),
        Relay(server.addr) as relay,
        Watched(kind, relay.addr, "Ada", reconnect=hisock.Reconnect(initial=0.3, jitter=0)) as ada,
    ):
        assert ada.any._do("get_client", "Bob", timeout=PATIENCE).name == "Bob"
        relay.lose_clients()
        ada.until("disconnect")
        with pytest.raises(hisock.ConnectionLost):
            ada.any._do("get_client", "Bob", timeout=PATIENCE)
        ada.until("reconnect")
        for name in ("Ada", "Bob", "Ada"):
            assert ada.any._do("get_client", name, timeout=PATIENCE).name == name


def test_a_name_that_no_client_can_have_is_not_asked_for(
    make_server: MakeServer, kind: Kind
) -> None:
    server = make_server()
    server.start()
    with AnyClient(kind, server.addr, "Ada") as ada:
        ada.start()
        with pytest.raises(ValueError, match="1024"):
            ada._do("get_client", "x" * 1025, timeout=PATIENCE)
        assert ada._do("get_client", "Ada", timeout=PATIENCE).name == "Ada"


def test_each_error_of_a_closed_client_has_its_own_traceback(
    make_server: MakeServer, kind: Kind
) -> None:
    server = make_server()
    server.start()
    ada = AnyClient(kind, server.addr, "Ada")
    client = ada.client
    ada.close()
    raised = []
    for _ in range(2):
        with pytest.raises(hisock.ClientDisconnected) as info:
            client.send("x")
        raised.append(info.value)
    assert raised[0] is not raised[1]


# Coming back


def test_attempts_count_until_the_server_has_answered(by_hand: HandServer, kind: Kind) -> None:
    """A server that accepts and hangs up is no server; what is to be sent stays in the buffer."""
    options = {"reconnect": hisock.Reconnect(initial=0.01, attempts=3), "offline_buffer": 10_000}
    with Watched(kind, by_hand.addr, "Ada", **options) as watched:
        by_hand.accept().close()
        watched.until("disconnect")
        watched.any.send("tell", 1)
        for _ in range(2):
            with by_hand.take() as peer:
                assert peer.read().reserved == "CLTHELLO"
        with by_hand.accept() as peer:
            watched.until("reconnect")  # what was kept goes out when its handlers have run
            assert peer.wait_for("tell").message == b"1"
        watched.until("disconnect", 2)
        for _ in range(3):
            by_hand.take().close()
        with contextlib.suppress(hisock.ConnectionLost):  # told once by update()
            watched.any.pump(lambda: watched.any.closed)
        with pytest.raises(hisock.ConnectionLost, match="3 attempts"):
            watched.any.send("tell", 2)
        assert len(watched.events.named("reconnect")) == 1


@pytest.mark.parametrize("kind", ["plain", "threaded"])
def test_a_client_that_does_not_come_back_keeps_nothing(by_hand: HandServer, kind: Kind) -> None:
    """A frame in a buffer that is never sent would be lost without a word."""
    with AnyClient(kind, by_hand.addr, offline_buffer=10_000) as client:
        by_hand.accept().reset()

        def send_on() -> None:
            while True:
                client.send("tell", bytes(5000))

        with pytest.raises(hisock.ConnectionLost):
            send_on()
        with pytest.raises(hisock.ConnectionLost):
            client.send("tell", 1)


def test_a_client_whose_new_name_was_refused_comes_back_by_the_old(
    make_server: MakeServer, kind: Kind
) -> None:
    server = make_server(unique_names=True)
    server.on("nothing")(lambda client: None)
    server.start()
    with (
        hisock.connect(server.addr, "Ada"),
        Relay(server.addr) as relay,
        Watched(kind, relay.addr, "Bob") as bob,
    ):
        bob.any.call("nothing")
        bob.any.change_name("Ada")
        bob.any.call("nothing")
        relay.lose_clients()
        bob.until("reconnect")
        assert bob.any.call("nothing") is None
        assert bob.any.client.name == "Bob"


def test_a_server_that_vanished_is_noticed(by_hand: HandServer, kind: Kind) -> None:
    """It says its interval, and nothing more; the client asks, and then takes it for lost."""
    asked: list[Any] = []

    def play() -> None:
        peer = by_hand.take()
        peer.read()
        hello = {"features": FEATURES, "codec": "json", "keepalive": 0.1}
        peer.reserved("SRVHELLO", json.dumps(hello))
        asked.extend(frame.reserved for frame in peer.rest())

    with by_hand.playing(play), AnyClient(kind, by_hand.addr, token="t") as client:
        client.start()
        began = time.monotonic()
        with pytest.raises(hisock.ConnectionLost, match="nothing has been heard"):
            client.recv("never")
        assert time.monotonic() - began > 0.2
    assert asked == ["GETCLT"]


# Clients that nobody has


@on_loops
@pytest.mark.parametrize("how", ["cancelled", "timed out", "lost"])
async def test_a_client_that_is_given_up_leaves_no_ghost(how: str) -> None:
    server = hisock.HiSockServer(LOOPBACK)
    deciding, decide = asyncio.Event(), asyncio.Event()

    @server.authenticate
    async def authenticate(token: str) -> None:
        deciding.set()
        await decide.wait()

    async with server:
        with contextlib.ExitStack() as stack:
            relay = stack.enter_context(Relay(server.addr))
            timeout = 0.2 if how == "timed out" else PATIENCE
            connecting = asyncio.ensure_future(
                hisock.async_connect(relay.addr, token="t", timeout=timeout, reconnect=SOON)
            )
            await within(deciding.wait())
            if how == "cancelled":
                connecting.cancel()
            elif how == "lost":
                relay.lose_clients()
            with pytest.raises((asyncio.CancelledError, TimeoutError, hisock.ConnectionLost)):
                await within(connecting)
            decide.set()
            await asyncio.sleep(0.3)  # longer than a client that comes back would take
            if how != "lost":
                assert len(server) == 0
        await until(lambda: not len(server))


@on_loops
async def test_a_client_has_joined_when_it_is_there() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        for number in range(20):
            async with hisock.async_connect(server.addr, f"client {number}") as client:
                server.send_client(f"client {number}", "hello", number)
                assert await client.recv("hello", int, timeout=PATIENCE) == number


@on_loops
async def test_what_is_dropped_with_a_connection_is_in_no_account_of_the_next() -> None:
    """Calls that waited for a handler go with their connection; their bytes made it deaf later."""
    seen, go_on = Seen(), asyncio.Event()
    async with (
        hisock.HiSockServer(LOOPBACK) as server,
        hisock.async_connect(
            server.addr, "Ada", reconnect=hisock.Reconnect(initial=0, maximum=0.01)
        ) as client,
    ):
        client.on("reconnect")(lambda: seen.add("back"))
        client.on("big")(lambda message: None)
        client.on("tiny")(lambda message: seen.add("tiny", int(message)))

        @client.on("slow")
        async def slow() -> None:
            seen.add("slow")
            await go_on.wait()

        for turn in range(1, 4):
            server.send_client("Ada", "slow")
            await seen.until_named("slow", turn)
            call = asyncio.ensure_future(server.call("Ada", "big", bytes(3_000_000)))
            assert isinstance(await client.get_client("Ada", timeout=PATIENCE), hisock.ClientInfo)
            server.disconnect_client("Ada", force=True)
            with pytest.raises(hisock.ConnectionLost):
                await within(call)
            go_on.set()
            await seen.until_named("back", turn)
            await until(lambda: len(server) == 1)
            go_on.clear()
        server.send_client("Ada", "slow")
        for number in range(1500):
            server.send_client("Ada", "tiny", number)
        go_on.set()
        await until(lambda: ("tiny", 1499) in seen.seen)


def test_a_loss_that_another_thread_notices_while_recv_waits_is_a_loss(
    by_hand: HandServer,
) -> None:
    """The thread in recv found a closed socket, and raised a ValueError."""
    for _ in range(20):
        client = hisock.connect(by_hand.addr, "Ada", reconnect=True)
        peer = by_hand.accept()
        outcome: list[BaseException] = []
        waiting = threading.Thread(target=_receive, args=(client, outcome))
        waiting.start()
        peer.reset()
        with contextlib.suppress(hisock.HiSockError):
            for _ in range(50):
                client.send("x")
        client.close()
        waiting.join(PATIENCE)
        assert [type(exc) for exc in outcome] == [hisock.ClientDisconnected]


def _receive(client: hisock.HiSockClient, outcome: list[BaseException]) -> None:
    try:
        client.recv("never", timeout=PATIENCE)
    except BaseException as exc:
        outcome.append(exc)
