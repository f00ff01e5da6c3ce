"""Clients that come back: when they do not, how long they wait, and five hundred of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Events, Peer, free_port
from support.events import PATIENCE
from support.fixtures import MakeServer, Run

import hisock
from hisock._client.endings import End

from .clients import LATER, AnyClient, Kind, Watched
from .loops import Seen, on_one_loop, run_on, within
from .wire import HandServer

SERVER = Path(__file__).parent / "programs" / "victim_server.py"
# When it does not come back


def test_a_client_that_was_disconnected_stays_away(
    make_server: MakeServer, kind: Kind, events: Events
) -> None:
    server = make_server()
    server.on("join")(lambda client: events.add("join"))
    server.on("nothing")(lambda client: None)
    server.start()
    with Watched(kind, server.addr, "Ada") as watched:
        watched.any.on("force_disconnect", lambda: watched.events.add("force_disconnect"))
        watched.any.call("nothing")
        server.disconnect_client("Ada")
        watched.until("force_disconnect")
        assert watched.any.closed
        with pytest.raises(hisock.ClientDisconnected):
            watched.any.send("nothing")
        assert not _reconnecting()
        # Whoever comes next is the first to come after it.
        with Peer.joined(server.addr, "next"):
            assert len(events.named("join")) == 2
        assert watched.events.seen == [("force_disconnect",)]


def test_a_client_stays_away_after_the_server_closed(by_hand: HandServer, kind: Kind) -> None:
    with Watched(kind, by_hand.addr, "Ada") as watched:
        with by_hand.accept() as peer:
            peer.reserved("DISCONN")
            watched.any.pump(lambda: watched.any.closed)
        assert not _reconnecting()
        assert not by_hand.somebody_waits
        assert watched.events.seen == []


def test_a_client_that_was_rejected_stays_away(by_hand: HandServer, kind: Kind) -> None:
    with Watched(kind, by_hand.addr, "Ada") as watched:
        by_hand.accept().close()
        watched.until("disconnect")
        with by_hand.take() as peer:
            peer.read()
            peer.reserved("REJECT", "you are banned")
            with _told_by_update(watched, hisock.ConnectionRejected):
                watched.any.pump(lambda: watched.any.closed and kind != "plain")
        assert not _reconnecting()
        assert not by_hand.somebody_waits
        with pytest.raises(hisock.ConnectionRejected, match="banned"):
            watched.any.recv("x")


@contextlib.contextmanager
def _told_by_update(watched: Watched, error: type[Exception]) -> Iterator[None]:
    """``update()`` of a plain client raises once; the others are not asked."""
    if watched.any.kind == "plain":
        with pytest.raises(error):
            yield
        assert watched.any.client.update() == 0
    else:
        yield


def _reconnecting() -> bool:
    return any(thread.name == "hisock-reconnect" for thread in threading.enumerate())


def test_a_client_gives_up_after_so_many_attempts(by_hand: HandServer, kind: Kind) -> None:
    reconnect = hisock.Reconnect(initial=0, maximum=0, attempts=3)
    with Watched(kind, by_hand.addr, "Ada", reconnect=reconnect, offline_buffer=100) as watched:
        peer = by_hand.accept()
        by_hand.close()
        peer.close()
        with _told_by_update(watched, hisock.ConnectionLost):
            watched.any.pump(lambda: watched.any.closed and kind != "plain")
        for act in (
            lambda: watched.any.send("x"),
            lambda: watched.any.recv("x"),
            lambda: watched.any.call("x", timeout=None),
        ):
            with pytest.raises(hisock.ConnectionLost, match="3 attempts"):
                act()
        assert [name for name, *_ in watched.events.seen] == ["disconnect"]


def test_start_ends_with_connection_lost_when_a_client_gives_up(by_hand: HandServer) -> None:
    client = hisock.connect(
        by_hand.addr, reconnect=hisock.Reconnect(initial=0, maximum=0, attempts=2)
    )
    peer = by_hand.accept()
    by_hand.close()
    peer.close()
    with client, pytest.raises(hisock.ConnectionLost, match="2 attempts"):
        client.start()


def test_close_ends_a_client_that_is_about_to_come_back(by_hand: HandServer, kind: Kind) -> None:
    watched = Watched(kind, by_hand.addr, "Ada", reconnect=LATER)
    by_hand.accept().close()
    watched.until("disconnect")
    before = {thread for thread in threading.enumerate() if thread.name == "hisock-reconnect"}
    watched.any.close()
    for thread in before:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert watched.any.closed
    assert not by_hand.somebody_waits


def test_closing_while_a_loss_is_noticed_leaves_no_thread_behind(
    by_hand: HandServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came back for ever, and joined whatever server had the port later."""
    client = hisock.connect(by_hand.addr, reconnect=hisock.Reconnect(initial=0, maximum=0.01))
    driver = client._driver

    def closed_meanwhile(session: Any) -> bool:
        driver._end(hisock.ClientDisconnected("closed by another thread"), End.CLOSED)
        return True

    monkeypatch.setattr(driver, "returns_after", closed_meanwhile)
    peer = by_hand.accept()
    by_hand.close()
    peer.close()
    with client, pytest.raises(hisock.ClientDisconnected):
        client.recv("anything", timeout=PATIENCE)
    assert not _reconnecting()


@pytest.mark.parametrize("kind", ["plain", "threaded"])
def test_a_client_for_which_the_system_has_no_thread_to_come_back_with_ends(
    by_hand: HandServer, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "hisock-reconnect":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with AnyClient(kind, by_hand.addr, reconnect=True) as client:
        client.start()
        by_hand.accept().close()
        with pytest.raises(hisock.ConnectionLost, match="no thread to come back with"):
            client.recv("never")
        assert client.closed


def test_a_first_connection_is_not_tried_again(kind: Kind) -> None:
    with HandServer() as by_hand:
        addr = by_hand.addr
    with pytest.raises(hisock.ServerNotRunning):
        AnyClient(kind, addr, reconnect=True)


def test_without_the_option_a_lost_connection_ends_the_client(
    by_hand: HandServer, kind: Kind
) -> None:
    with AnyClient(kind, by_hand.addr) as client:
        client.start()
        by_hand.accept().close()
        with pytest.raises(hisock.ConnectionLost):
            client.recv("x")
        assert client.closed
        assert not by_hand.somebody_waits


def test_without_the_option_disconnect_and_reconnect_are_ordinary_commands(
    by_hand: HandServer, kind: Kind
) -> None:
    got: list[Any] = []

    def disconnect(client: str) -> None:
        got.append(client)

    def reconnect(first: str) -> None:
        got.append(first)

    with AnyClient(kind, by_hand.addr) as client:
        client.on("disconnect", disconnect)
        client.on("reconnect", reconnect)
        client.start()
        with by_hand.accept() as peer:
            peer.send("disconnect", "as 2.0.2 programs")
            peer.send("reconnect", "have it")
            client.pump(lambda: len(got) == 2)
    assert got == ["as 2.0.2 programs", "have it"]


def test_a_server_cannot_fire_the_events_by_sending_their_names(
    by_hand: HandServer, kind: Kind
) -> None:
    with Watched(kind, by_hand.addr) as watched, by_hand.accept() as peer:
        peer.send("disconnect", "lies")
        peer.send("reconnect")
        peer.send("over")
        watched.any.recv("over")
        assert watched.events.seen == []


# Servers that are not quite there


@pytest.mark.parametrize("how", ["reset", "close", "no answer"])
def test_a_server_that_hangs_up_at_once_is_tried_again(
    by_hand: HandServer, kind: Kind, how: str
) -> None:
    def play() -> None:
        by_hand.accept().close()
        for _ in range(10):
            peer = by_hand.take()
            if how == "no answer":
                assert peer.read().reserved == "CLTHELLO"
            if how == "reset":
                peer.reset()
            else:
                peer.close()
        by_hand.accept().send("here", b"1")

    with Watched(kind, by_hand.addr, "Ada") as watched, by_hand.playing(play):
        assert watched.any.recv("here", int) == 1


@on_one_loop
async def test_a_client_waiting_to_be_closed_uses_no_time_while_it_is_offline() -> None:
    with HandServer() as by_hand:
        client, peer = await by_hand.serve(hisock.async_connect(by_hand.addr, reconnect=LATER))
        seen = Seen()
        client.on("disconnect")(lambda reason: seen.add("disconnect"))
        waiting = asyncio.ensure_future(client.wait_closed())
        peer.close()
        await seen.until_named("disconnect")
        loop = asyncio.get_running_loop()
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1
            if not done.done():
                loop.call_later(0.001, count)

        # Between two timers of a millisecond an idle loop goes round once or twice.
        rounds = _Rounds(loop)
        done: asyncio.Future[None] = loop.create_future()
        count()
        loop.call_later(0.05, done.set_result, None)
        await done
        assert rounds.stop() < 20 * turns + 100
        await within(client.close())
        await within(waiting)


class _Rounds:
    """Counts how often a loop goes round, as long as it has something to do anyway."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._selector = loop._selector  # type: ignore[attr-defined]
        self._select = self._selector.select
        self._count = 0
        self._selector.select = self._counting

    def _counting(self, timeout: float | None = None) -> Any:
        self._count += 1
        return self._select(timeout)

    def stop(self) -> int:
        self._selector.select = self._select
        return self._count


# How long it waits


def test_waits_grow_up_to_a_maximum_and_jitter_shortens_them() -> None:
    steady = hisock.Reconnect(initial=1, maximum=10, factor=2, jitter=0, attempts=6)
    assert list(steady.delays()) == [1, 2, 4, 8, 10, 10]
    shaken = hisock.Reconnect(initial=1, maximum=10, factor=2, jitter=0.5, attempts=6)
    for _ in range(200):
        for delay, longest in zip(shaken.delays(), [1, 2, 4, 8, 10, 10], strict=True):
            assert longest / 2 <= delay <= longest
    forever = hisock.Reconnect().delays()
    assert all(0 < next(forever) <= 30 for _ in range(1000))
    assert list(hisock.Reconnect(attempts=0).delays()) == []


def test_jitter_spreads_many_clients_over_the_whole_wait() -> None:
    first = [next(hisock.Reconnect(initial=1, jitter=0.5).delays()) for _ in range(500)]
    in_each_tenth = [0] * 10
    for delay in first:
        in_each_tenth[min(int((delay - 0.5) * 20), 9)] += 1
    # 50 each on average; that one of them has less than 15 or more than 100 will not happen.
    assert all(15 < count < 100 for count in in_each_tenth), in_each_tenth


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial": -1},
        {"initial": 5, "maximum": 1},
        {"factor": 0.5},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"attempts": -1},
    ],
)
def test_a_reconnect_that_makes_no_sense_is_a_value_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        hisock.Reconnect(**wrong)


# A storm


def test_two_hundred_clients_come_back_to_a_server_that_was_killed(run_on_ours: Run) -> None:
    count = 200  # each of them hears of all others, twice
    port = free_port()
    addr = ("127.0.0.1", port)
    programs = [run_on_ours(SERVER, str(port))]
    programs[0].wait_line("ready")

    async def storm() -> None:
        loop = asyncio.get_running_loop()
        seen = Seen()
        reconnect = hisock.Reconnect(initial=0.5, maximum=0.5, jitter=1)
        clients = []
        for start in range(0, count, 50):
            names = [f"client {n}" for n in range(start, start + 50)]
            clients += await asyncio.gather(
                *(hisock.async_connect(addr, name, reconnect=reconnect) for name in names)
            )
        for client in clients:
            client.on("disconnect")(lambda reason: seen.add("disconnect"))
            client.on("reconnect")(lambda: seen.add("reconnect"))
        assert await _how_many(clients[0], count) == count
        await loop.run_in_executor(None, programs[0].kill)
        await seen.until_named("disconnect", count)
        programs.append(run_on_ours(SERVER, str(port)))
        await seen.until_named("reconnect", count)
        assert await _how_many(clients[0], count) == count
        they = await asyncio.gather(*(c.call("who am I", None, list[Any], 30) for c in clients))
        assert they == [[f"client {n}", None] for n in range(count)]
        await asyncio.gather(*(client.close() for client in clients))

    try:
        run_on(asyncio.new_event_loop(), asyncio.wait_for(storm(), 50))
    finally:
        for program in programs:
            program.kill()


async def _how_many(client: hisock.AsyncHiSockClient, wanted: int) -> int:
    """How many clients the server counts, once they are all there."""
    for _ in range(1000):
        found = await client.call("how many", None, int, 30)
        if found >= wanted:
            break
    return found
