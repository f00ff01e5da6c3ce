"""Errors of calls with code and data, and calls that are cancelled."""

from __future__ import annotations

import asyncio
import json
import select
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from support import Events
from support.events import PATIENCE
from support.fixtures import MakeServer

import hisock

from .clients import AnyClient, Kind
from .loops import LOOPBACK, Seen, on_loops, turns, within
from .wire import HandServer, modern_peer


@dataclass
class Offer:
    item: str
    price: float


def sold_out() -> None:
    raise hisock.RemoteError("sold out", code="sold_out", data=Offer("tea", 2.5))


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_an_error_has_a_code_and_data(make_server: MakeServer, kind: Kind, codec: str) -> None:
    server = make_server(codec=codec)
    server.on("buy")(sold_out)
    server.start()
    with AnyClient(kind, server.addr, codec=codec) as client:
        client.start()
        with pytest.raises(hisock.RemoteError, match="sold out") as raised:
            client.call("buy", None, timeout=PATIENCE)
        assert raised.value.code == "sold_out"
        assert raised.value.data == {"item": "tea", "price": 2.5}
        assert raised.value.data_as(Offer) == Offer("tea", 2.5)
        with pytest.raises(hisock.InvalidTypeCast):
            raised.value.data_as(list[int])


def test_the_error_of_a_client_has_them_too(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    with hisock.ThreadedHiSockClient(server.addr, "Ada") as client:
        client.on("buy")(sold_out)
        client.start()
        with pytest.raises(hisock.RemoteError):
            client.call("joined")
        with pytest.raises(hisock.RemoteError) as raised:
            server.call_blocking("Ada", "buy")
        assert raised.value.data_as(Offer) == Offer("tea", 2.5)


async def sold_out_later() -> None:
    await asyncio.sleep(0)
    sold_out()


#: Handlers and how they are registered: each has a way of its own to its answer.
WAYS: list[tuple[Callable[[], Any], dict[str, bool]]] = [
    (sold_out, {}),
    (sold_out, {"threaded": True}),
    (sold_out_later, {}),
]
KNOWN = [["call"], ["call", "errors"]]


@pytest.mark.parametrize("features", KNOWN)
@pytest.mark.parametrize("call", ["1$CMD$buy", "1$CMD$buy$MSG$tea"])
@pytest.mark.parametrize(("handler", "options"), WAYS)
def test_a_peer_that_knows_no_codes_gets_the_text(
    make_server: MakeServer,
    features: list[str],
    call: str,
    handler: Callable[[], Any],
    options: dict[str, bool],
) -> None:
    server = make_server()
    server.on("buy", **options)(handler)
    server.start()
    with modern_peer(server.addr, "peer", features=features) as peer:
        peer.reserved("CALL", call)
        payload = peer.wait_for(lambda frame: frame.reserved == "REPLY").payload
    is_the_error(payload, features)


@pytest.mark.parametrize("features", [None, [], *KNOWN])
@pytest.mark.parametrize("call", ["1$CMD$buy", "1$CMD$buy$MSG$tea"])
@pytest.mark.parametrize(("handler", "options"), WAYS)
def test_a_server_that_knows_no_codes_gets_the_text(
    by_hand: HandServer,
    kind: Kind,
    features: list[str] | None,
    call: str,
    handler: Callable[[], Any],
    options: dict[str, bool],
) -> None:
    """:param features: what its hello lists; ``None`` where it says none, as 2.0.2."""
    if kind != "async" and handler is sold_out_later:
        return  # a blocking client has no loop
    with AnyClient(kind, by_hand.addr) as client, by_hand.take() as peer:
        client.on("buy", handler, **options)
        client.start()
        assert peer.read().reserved == "CLTHELLO"
        if features is not None:
            peer.reserved("SRVHELLO", json.dumps({"features": features, "codec": "json"}))
        peer.reserved("CLTCONN", '{"ip": ["127.0.0.1", 1], "name": null, "group": null}')
        peer.reserved("CALL", call)
        client.pump(lambda: select.select([peer.sock], [], [], 0)[0])
        is_the_error(peer.read().payload, features or [])


def is_the_error(payload: bytes, features: list[str]) -> None:
    """A reply says what a handler raised, in the form that its receiver has announced."""
    if "errors" not in features:
        assert payload == b"$REPLY$1$ERR$sold out"
        return
    start, _, rest = payload.partition(b"$EXC$")
    error, _, data = rest.partition(b"$MSG$")
    assert start == b"$REPLY$1"
    assert json.loads(error) == {"message": "sold out", "code": "sold_out"}
    assert json.loads(data) == {"item": "tea", "price": 2.5}


# Cancelling


@on_loops
@pytest.mark.parametrize("concurrent", [False, True])
async def test_cancelling_a_call_cancels_the_servers_handler(concurrent: bool) -> None:
    seen = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("slow", concurrent=concurrent)
        async def slow(client: hisock.ClientInfo) -> None:
            seen.add("began")
            try:
                await asyncio.Event().wait()
            finally:
                seen.add("ended")

        @server.on("fast")
        async def fast(client: hisock.ClientInfo) -> int:
            return 1

        async with await hisock.async_connect(server.addr) as client:
            call = asyncio.ensure_future(client.call("slow", timeout=None))
            await seen.until_named("began")
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await within(call)
            await seen.until_named("ended")
            assert await client.call("fast", None, int) == 1
    assert server.stats().handler_errors == 0


@on_loops
async def test_cancelling_a_call_cancels_the_clients_handler() -> None:
    seen = Seen()
    async with (
        hisock.HiSockServer(LOOPBACK) as server,
        await hisock.async_connect(server.addr, "Ada") as client,
    ):

        @client.on("slow")
        async def slow() -> None:
            seen.add("began")
            try:
                await asyncio.Event().wait()
            finally:
                seen.add("ended")

        client.on("fast")(lambda: 1)
        with pytest.raises(hisock.RemoteError):
            await client.call("joined")
        call = asyncio.ensure_future(server.call("Ada", "slow", timeout=None))
        await seen.until_named("began")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(call)
        await seen.until_named("ended")
        assert await server.call("Ada", "fast", None, int) == 1


@on_loops
async def test_a_call_to_a_client_is_cancelled_before_its_handler_begins() -> None:
    seen, go_on = Seen(), asyncio.Event()
    async with (
        hisock.HiSockServer(LOOPBACK) as server,
        await hisock.async_connect(server.addr, "Ada") as client,
    ):

        @client.on("slow")
        async def slow() -> None:
            seen.add("began")
            await go_on.wait()

        client.on("plain")(lambda text: seen.add("plain", text))
        with pytest.raises(hisock.RemoteError):
            await client.call("joined")
        before = asyncio.ensure_future(server.call("Ada", "slow", timeout=None))
        await seen.until_named("began")
        call = asyncio.ensure_future(server.call("Ada", "plain", "cancelled", timeout=None))
        await turns(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(call)
        with pytest.raises(hisock.RemoteError):
            await client.call("all has come")
        go_on.set()
        await within(before)
        await within(server.call("Ada", "plain", "next"))
    assert seen.named("plain") == [(b"next",)]


@pytest.mark.parametrize("lost_again", [False, True])
@on_loops
async def test_a_call_waits_until_what_was_kept_is_sent(lost_again: bool) -> None:
    seen, go_on = Seen(), asyncio.Event()

    async def outcome(call: Awaitable[Any]) -> Any:
        try:
            return await call
        except hisock.ConnectionLost:
            return "lost"

    def cut() -> None:
        for connection in list(server._hub.connections):
            connection.discard().abort()

    async with hisock.HiSockServer(LOOPBACK) as server:
        server.on("kept")(lambda client: seen.add("kept"))
        server.on("look")(lambda client: len(seen.named("kept")))
        async with await hisock.async_connect(
            server.addr, "Ada", reconnect=hisock.Reconnect(initial=0.01), offline_buffer=1000
        ) as client:
            client.on("disconnect")(lambda reason: seen.add("lost"))

            @client.on("reconnect")
            async def back() -> None:
                seen.add("back")
                await go_on.wait()

            assert await client.call("look", None, int) == 0
            cut()
            await seen.until_named("lost")
            client.send("kept")
            await seen.until_named("back")
            call = asyncio.ensure_future(outcome(client.call("look", None, int, timeout=None)))
            await turns(3)
            if lost_again:
                cut()
                await seen.until_named("lost", 2)
            go_on.set()
            assert await within(call) == ("lost" if lost_again else 1)


def test_a_call_that_waits_for_another_is_cancelled_before_it_begins(
    make_server: MakeServer, events: Events
) -> None:
    server = make_server()

    @server.on("call")
    async def handler(client: hisock.ClientInfo, number: int) -> int:
        events.add("began", number)
        await asyncio.sleep(0.05)
        return number

    server.start()
    with modern_peer(server.addr, "peer", features=["call", "cancel"]) as peer:
        for number in (1, 2, 3):
            peer.reserved("CALL", f"{number}$CMD$call$MSG${number}")
        peer.reserved("CANCEL", "2")
        assert peer.wait_for(lambda f: f.reserved == "REPLY").payload == b"$REPLY$1$MSG$1"
        assert peer.wait_for(lambda f: f.reserved == "REPLY").payload == b"$REPLY$3$MSG$3"
    assert events.named("began") == [(1,), (3,)]


def test_a_threaded_handler_goes_on_and_nobody_is_told(
    make_server: MakeServer, events: Events
) -> None:
    server = make_server()

    @server.on("work", threaded=True)
    def work(client: hisock.ClientInfo) -> int:
        events.add("began")
        events.wait_for("go on")
        return 1

    server.on("next")(lambda client: 2)
    server.start()
    with modern_peer(server.addr, "peer", features=["call", "cancel"]) as peer:
        peer.reserved("CALL", "1$CMD$work")
        events.wait_for("began")
        peer.reserved("CANCEL", "1")
        peer.reserved("CALL", "2$CMD$next")
        assert peer.wait_for(lambda f: f.reserved == "REPLY").payload == b"$REPLY$2$MSG$2"
        events.add("go on")
        peer.reserved("CALL", "3$CMD$next")
        assert peer.wait_for(lambda f: f.reserved == "REPLY").payload == b"$REPLY$3$MSG$2"


@pytest.mark.parametrize(
    ("features", "frame"),
    [(["call"], "CANCEL$1"), (["call", "cancel"], "CANCEL$x"), ([], "REPLY$1$MSG$x")],
)
def test_what_is_out_of_place_ends_the_connection(
    make_server: MakeServer, features: list[str], frame: str
) -> None:
    server = make_server()
    server.start()
    with modern_peer(server.addr, "peer", features=features) as peer:
        peer.raw(b"$" + frame.encode())
        peer.rest()
    assert server.stats().ended == {"protocol": 1}
