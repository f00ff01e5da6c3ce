"""Clients that come back: as whom, and what becomes of what was under way."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from support import Events, Frame, Peer
from support.events import PATIENCE
from support.fixtures import MakeServer

import hisock

from .clients import SOON, Kind, Watched
from .loops import Seen, on_loops, within
from .wire import HandServer, Relay


def test_the_client_comes_back_with_its_current_name_and_group(
    by_hand: HandServer, kind: Kind
) -> None:
    peers: list[Peer] = []
    # With a token, a client is made when the server has answered.
    with by_hand.playing(lambda: peers.append(by_hand.accept())):
        watched = Watched(kind, by_hand.addr, "Ada", "red", token="secret")
    with watched:
        with peers[0] as peer:
            watched.any.change_name("Countess")
            watched.any.change_group("blue")
            peer.wait_for(lambda f: f.reserved == "CHGROUP")
        watched.until("disconnect")
        with by_hand.take() as peer:
            hello = peer.read().json
            assert (hello["name"], hello["group"]) == ("Countess", "blue")
            assert hello["token"] == "secret"
            assert "call" in hello["features"]


def test_the_client_comes_back_with_the_token_that_it_was_given(
    make_server: MakeServer, kind: Kind, events: Events
) -> None:
    server = make_server()

    @server.authenticate
    def authenticate(token: str | None) -> None:
        events.add("token", token)

    server.on("pass")(lambda client: "to come back with")
    server.start()
    with Watched(kind, server.addr, "Ada") as watched:
        watched.any.client.token = watched.any.call("pass", None, str)
        server.disconnect_all_clients(force=True)
        watched.until("reconnect")
        events.wait_for("token", "to come back with")
        with pytest.raises(TypeError, match="a token is text"):
            watched.any.client.token = 5
        assert watched.any.client.token == "to come back with"


def test_back_means_back_to_the_name_that_the_client_began_with(
    make_server: MakeServer, kind: Kind, events: Events
) -> None:
    server = make_server()
    server.on("join")(lambda client: events.add("join", client.name, client.group))
    server.on("nothing")(lambda client: None)
    server.start()
    with Watched(kind, server.addr, "Ada", "red") as watched:
        watched.any.change_name("Countess")
        watched.any.change_group("blue")
        watched.any.call("nothing")
        server.disconnect_all_clients(force=True)
        watched.until("reconnect")
        events.wait_for("join", "Countess", "blue")
        watched.any.change_name(None)
        watched.any.change_group(None)
        watched.any.call("nothing")
        (info,) = server.get_all_clients()
        assert (info.name, info.group) == ("Ada", "red")
        assert (watched.any.client.name, watched.any.client.group) == ("Ada", "red")


@pytest.mark.parametrize("unique_names", [False, True])
def test_a_client_that_comes_back_takes_the_place_of_its_ghost(
    make_server: MakeServer, kind: Kind, events: Events, unique_names: bool
) -> None:
    """The server has not noticed that the first connection is dead."""
    server = make_server(unique_names=unique_names)
    server.on("join")(lambda client: events.add("join", client.name, client.ip))
    server.on("leave")(lambda client: events.add("leave", client.name, client.ip))
    server.on("where")(lambda client: client.ip)
    server.start()
    with Relay(server.addr) as relay, Watched(kind, relay.addr, "Ada") as watched:
        old = watched.any.call("where", None, str)
        relay.lose_clients()
        watched.until("reconnect")
        new = watched.any.call("where", None, str)
        assert [info.ip for info in server.get_all_clients()] == [new]
        assert events.seen == [("join", "Ada", old), ("leave", "Ada", old), ("join", "Ada", new)]
        assert server.stats().ended == {"replaced": 1}


def test_handlers_go_on_after_coming_back(make_server: MakeServer, kind: Kind) -> None:
    server = make_server()
    server.on("nothing")(lambda client: None)
    server.start()
    with Watched(kind, server.addr, "Ada") as watched:
        watched.any.on("double", _double)
        got = Events()
        watched.any.on("told", lambda message: got.add(message))
        for times in range(1, 4):
            watched.any.call("nothing")
            server.disconnect_all_clients(force=True)
            watched.until("reconnect", times)
            watched.any.call("nothing")
            server.send_client("Ada", "told", times)
            watched.any.pump(partial(_has, got, times))
            with ThreadPoolExecutor(1) as pool:
                asking = pool.submit(server.call_blocking, "Ada", "double", 21, int)
                watched.any.pump(asking.done)
                assert asking.result() == 42


def _has(events: Events, count: int) -> bool:
    return len(events.seen) == count


def _double(number: int) -> int:
    return 2 * number


def test_a_handler_that_ends_after_a_reconnect_answers_nobody(
    by_hand: HandServer, kind: Kind
) -> None:
    """The number of its call means another call, or none, on the new connection."""
    go_on = threading.Event()
    with Watched(kind, by_hand.addr, "Ada") as watched:

        def slow() -> str:
            watched.events.add("called")
            assert go_on.wait(PATIENCE)
            watched.events.add("ended")
            return "for the one who asked"

        watched.any.on("slow", slow, threaded=True)
        with by_hand.accept() as peer:
            peer.raw(b"$CALL$1$CMD$slow")
            watched.until("called")
        watched.until("disconnect")
        with by_hand.accept() as peer:
            watched.until("reconnect")
            go_on.set()
            watched.events.wait_for("ended")
            frames: list[Frame] = []

            def read_to_the_end() -> None:
                frames.extend(peer.rest())
                peer.close()  # which the client waits for

            with by_hand.playing(read_to_the_end):
                watched.any._do("close")
            assert [f.reserved for f in frames] == ["USRCLOSE"]


@on_loops
async def test_what_was_kept_of_the_old_connection_does_not_confuse_the_new_one() -> None:
    seen = Seen()
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()
    with HandServer() as by_hand:
        client, first = await by_hand.serve(hisock.async_connect(by_hand.addr, reconnect=SOON))
        client.on("disconnect")(lambda reason: seen.add("disconnect"))
        client.on("reconnect")(lambda: seen.add("reconnect"))
        client.on("news")(lambda message: seen.add("news", message))

        @client.on("slow")
        async def slow() -> None:
            seen.add("called")
            await go_on.wait()
            seen.add("ended")

        with first as peer:
            peer.send("slow")
            peer.send("news", b"old")
            peer.reserved("KEEPALIVE")
            peer.raw(b"$CALL$1$CMD$nobody")
            peer.reserved("CLTDISCONN", '{"ip": ["127.0.0.1", 1], "name": null, "group": null}')
            await seen.until_named("called")
        with await loop.run_in_executor(None, by_hand.take) as peer:
            assert seen.named("reconnect") == []
            peer.reserved("SRVHELLO", '{"features": ["call", "reject"], "codec": "json"}')
            await seen.until_named("reconnect")
            go_on.set()
            await seen.until_named("ended")
            await seen.until_named("news")  # what came is not lost
            peer.send("news", b"new")
            calling = asyncio.ensure_future(client.call("ask", None, str))
            await seen.until_named("news", 2)
            frame = await loop.run_in_executor(
                None, peer.wait_for, lambda f: f.reserved in ("CALL", "REPLY")
            )
            assert frame.reserved == "CALL", "nothing else was for this server"
            number = frame.data.partition(b"$")[0]
            peer.raw(b"$REPLY$" + number + b"$MSG$answer")
            assert await within(calling) == "answer"
        await within(client.close())


def test_recv_waits_across_reconnects(by_hand: HandServer, kind: Kind) -> None:
    def play() -> None:
        for _ in range(3):
            by_hand.accept().reset()
        by_hand.accept().send("news", "at last")

    with Watched(kind, by_hand.addr, "Ada") as watched, by_hand.playing(play):
        assert watched.any.recv("news", str) == "at last"
        assert len(watched.events.named("reconnect")) == 3
