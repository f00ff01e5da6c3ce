"""Clients that come back: to a server that was killed, under load, and as whom they were."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import Events, Peer, Program, free_port
from support.events import PATIENCE

import hisock

from .clients import LATER, SOON, AnyClient, Kind, Watched
from .loops import Seen, on_loops, within
from .wire import HandServer, Relay

MakeServer = Callable[..., hisock.ThreadedHiSockServer]
Run = Callable[..., Program]
SERVER = Path(__file__).parent / "programs" / "victim_server.py"
# A server that is killed


class Caller(threading.Thread):
    """Calls without a pause, and keeps account of every outcome."""

    def __init__(self, client: AnyClient, start: int) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._number = start
        self.answered = 0
        self.lost = 0
        self.other: list[Any] = []
        self.answered_again = threading.Event()
        self.stop = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stop.is_set():
            self._number += 1
            try:
                reply = self._client.call("double", self._number, int)
            except hisock.ConnectionLost:
                self.lost += 1
                self.stop.wait(0.001)
            except Exception as exc:
                self.other.append(exc)
            else:
                if reply != 2 * self._number:
                    self.other.append((self._number, reply))
                self.answered += 1
                self.answered_again.set()


def test_a_server_killed_and_restarted_under_load_leaves_no_call_unaccounted(
    kind: Kind, run_on_ours: Run
) -> None:
    port = free_port()
    addr = ("127.0.0.1", port)
    server = run_on_ours(SERVER, str(port))
    callers: list[Caller] = []
    try:
        server.wait_line("ready")
        with Watched(kind, addr, "Ada", "red") as watched:
            callers = [Caller(watched.any, n * 1_000_000) for n in range(4)]
            for times in range(1, 4):
                for caller in callers:
                    assert caller.answered_again.wait(PATIENCE)
                server.kill()
                watched.events.wait_for("disconnect", count=times)
                server = run_on_ours(SERVER, str(port))
                server.wait_line("ready")
                watched.events.wait_for("reconnect", count=times)
                for caller in callers:
                    caller.answered_again.clear()
            for caller in callers:
                assert caller.answered_again.wait(PATIENCE)
                caller.stop.set()
            for caller in callers:
                caller.join(PATIENCE)
                assert not caller.is_alive()
                assert caller.other == []
            assert sum(caller.lost for caller in callers) > 0
            assert watched.any.waiting_calls == 0
            assert watched.any.call("who am I", None, list[str]) == ["Ada", "red"]
            assert watched.any.call("how many", None, int) == 1
        names = [name for name, *_ in watched.events.seen]
        assert names == ["disconnect", "reconnect"] * 3
    finally:
        for caller in callers:
            caller.stop.set()
        server.kill()


def test_what_is_sent_without_a_server_arrives_in_order_when_there_is_one(
    kind: Kind, run_on_ours: Run
) -> None:
    port = free_port()
    server = run_on_ours(SERVER, str(port))
    try:
        server.wait_line("ready")
        with Watched(kind, ("127.0.0.1", port), "Ada", offline_buffer=20_000) as watched:
            ada = watched.any
            assert ada.call("how many", None, int) == 1
            server.kill()
            watched.until("disconnect")
            kept = _send_until_refused(ada)
            # A frame has 16 bytes of header, $CMD$tell$MSG$, and some digits.
            assert 20_000 // 40 < kept <= 20_000 // 31
            server = run_on_ours(SERVER, str(port))
            server.wait_line("join Ada")
            watched.until("reconnect")
            assert ada.call("told", None, list[int]) == [*range(kept)]
            ada.send("tell", -1)
            assert ada.call("told", None, list[int]) == [*range(kept), -1]
    finally:
        server.kill()


def _send_until_refused(client: AnyClient) -> int:
    for number in range(100_000):
        try:
            client.send("tell", number)
        except hisock.ConnectionLost:
            return number
    raise AssertionError("everything is kept")


def test_without_a_buffer_what_is_sent_meanwhile_raises(by_hand: HandServer, kind: Kind) -> None:
    with Watched(kind, by_hand.addr, "Ada", reconnect=LATER) as watched:
        by_hand.accept().close()
        watched.until("disconnect")
        ada = watched.any
        assert not ada.client.connected
        assert not ada.closed
        with pytest.raises(hisock.ConnectionLost):
            ada.send("tell", 1)
        with pytest.raises(hisock.ConnectionLost):
            ada.call("double", 1, timeout=None)
        with pytest.raises(hisock.ConnectionLost):
            ada.change_name("Bob")
        with pytest.raises(hisock.ConnectionLost):
            ada._do("get_client", "Bob", timeout=None)
        with pytest.raises(TypeError):
            ada.send("tell", object())
        with pytest.raises(ValueError, match="empty"):
            ada.send("", 1)


def test_whoever_only_calls_hears_of_the_loss_too(by_hand: HandServer) -> None:
    """Nobody reads from a client that was not started, but those who wait for something."""
    with Watched("plain", by_hand.addr, "Ada", reconnect=LATER) as watched:
        by_hand.accept().close()
        with pytest.raises(hisock.ConnectionLost):
            watched.any.call("double", 1)
        with pytest.raises(hisock.ConnectionLost):
            watched.any.call("double", 1)
        assert len(watched.events.named("disconnect")) == 1


def test_a_loss_noticed_by_sending_is_told_to_the_next_that_calls(by_hand: HandServer) -> None:
    with Watched("plain", by_hand.addr, "Ada", reconnect=LATER) as watched:
        by_hand.accept().reset()
        _send_until_refused(watched.any)
        with pytest.raises(hisock.ConnectionLost):
            watched.any.call("double", 1)
        assert len(watched.events.named("disconnect")) == 1


def test_calls_do_not_go_into_the_buffer(by_hand: HandServer, kind: Kind) -> None:
    """A caller is told at once; a call that arrives minutes later would answer nobody."""
    options = {"reconnect": LATER, "offline_buffer": 1_000_000}
    with Watched(kind, by_hand.addr, "Ada", **options) as watched:
        by_hand.accept().close()
        watched.until("disconnect")
        with pytest.raises(hisock.ConnectionLost):
            watched.any.call("double", 1, timeout=None)


def test_a_big_buffer_reaches_a_server_that_reads_slowly(by_hand: HandServer, kind: Kind) -> None:
    with Watched(kind, by_hand.addr, "Ada", offline_buffer=50_000_000) as watched:
        _send_while_away(by_hand, watched, 300)
        with by_hand.accept() as peer:
            for number in range(300):
                assert _number(peer) == number
            watched.until("reconnect")
            watched.any.send("tell", b"000300")
            assert _number(peer) == 300


@pytest.mark.parametrize("kind", ["plain", "threaded"])
def test_what_could_not_be_handed_over_is_sent_over_the_next_connection(
    by_hand: HandServer, kind: Kind
) -> None:
    with Watched(kind, by_hand.addr, "Ada", offline_buffer=50_000_000) as watched:
        _send_while_away(by_hand, watched, 600)
        with by_hand.accept() as peer:
            watched.until("reconnect")
            assert _number(peer) == 0
            peer.reset()  # the system has taken only a part of it
        with by_hand.accept() as peer:
            watched.until("reconnect", 2)
            # What it had taken is lost; what the client still has is not.
            first = _number(peer)
            for number in range(first + 1, 600):
                assert _number(peer) == number


def _send_while_away(by_hand: HandServer, watched: Watched, count: int) -> None:
    peer = by_hand.accept()
    by_hand.go_away()
    peer.close()
    watched.until("disconnect")
    for number in range(count):
        watched.any.send("tell", b"%06d" % number + bytes(60_000))
    by_hand.come_back()


def _number(peer: Peer) -> int:
    message = peer.wait_for("tell").message
    assert message is not None
    return int(message[:6])


# As whom it comes back


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
            watched.any._do("close")
            assert [f.reserved for f in peer.rest()] == ["USRCLOSE"]


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
