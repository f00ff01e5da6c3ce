"""``close(timeout=...)``: handlers and ticks that run may end, and no others begin."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest
from support import Events, Peer
from support.events import PATIENCE
from support.fixtures import StartServer

import hisock
from hisock._runtime.threads import FAIR_SHARE

from .shutting import LONG, Held, closing_in_a_thread, farewell

pytestmark = pytest.mark.usefixtures("nothing_left")
# Handlers


def test_a_handler_that_ends_in_time_ends(start_server: StartServer, held: Held) -> None:
    """It gets the frame that it waits for, and what it sends arrives before the goodbye."""
    server = start_server(held.wire)
    with Peer.joined(server.addr) as peer, Peer.joined(server.addr) as other:
        peer.send("hold")
        held.events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            peer.send("go on")
            assert farewell(peer) == ["held", "DISCONN"]
            assert farewell(other) == ["DISCONN"]
    assert held.events.named("ended")


def test_a_call_that_is_being_answered_is_answered(start_server: StartServer, held: Held) -> None:
    server = start_server(held.wire)
    with Peer.joined(server.addr) as other, hisock.ThreadedHiSockClient(server.addr) as client:
        client.start()
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(client.call("hold", None, str)))
        asking.start()
        held.events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            other.send("go on")
            asking.join(PATIENCE)
            assert farewell(other) == ["DISCONN"]
        assert answers == ["done"]


def test_an_async_handler_that_does_not_end_is_cancelled(
    start_server: StartServer, held_async: Held
) -> None:
    server = start_server(held_async.wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        held_async.events.wait_for("began")
        began = time.monotonic()
        server.close(timeout=0.5)
        assert 0.4 < time.monotonic() - began < 5
        assert farewell(peer) == ["DISCONN"]
    assert held_async.events.named("cancelled")
    assert not held_async.events.named("ended")


def test_a_thread_that_does_not_end_is_left_to_itself(
    start_server: StartServer, events: Events, closing: contextlib.ExitStack
) -> None:
    let_go = threading.Event()
    closing.callback(let_go.set)

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("hold", threaded=True)
        def hold() -> None:
            events.add("began")
            let_go.wait(LONG)

    server = start_server(wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        events.wait_for("began")
        with closing_in_a_thread(server, 0.2):
            assert farewell(peer) == ["DISCONN"]


def test_a_thread_that_waits_for_a_frame_is_told_when_the_time_is_over(
    start_server: StartServer, events: Events
) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("hold", threaded=True)
        def hold() -> None:
            events.add("began")
            try:
                server.recv("what never comes")
            except hisock.utils.ClientDisconnected:
                events.add("told")

    server = start_server(wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        events.wait_for("began")
        server.close(timeout=0.2)
        assert farewell(peer) == ["DISCONN"]
    assert events.named("told")


@pytest.mark.parametrize("timeout", [None, LONG])
def test_work_that_waits_for_a_thread_is_done_too(
    start_server: StartServer, events: Events, timeout: float | None
) -> None:
    """More of one client than it may have threads; without a timeout, what takes no second."""
    let_go = threading.Event()

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("work", threaded=True)
        def work(client: hisock.ClientInfo, number: int) -> None:
            let_go.wait(LONG)
            events.add(number)

    server = start_server(wire)
    count = 2 * FAIR_SHARE
    with Peer.joined(server.addr) as peer:
        for number in range(count):
            peer.send("work", str(number))
        peer.ask("ping", "all have come", answer="pong")
        with closing_in_a_thread(server, timeout):
            let_go.set()
            assert farewell(peer) == ["DISCONN"]
    assert sorted(events.seen) == [(number,) for number in range(count)]


def test_no_handler_begins_while_the_server_closes(
    start_server: StartServer, held_async: Held
) -> None:
    """Neither of a command, nor of one that waited for an async handler, nor of a call."""
    events = held_async.events

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        held_async.wire(server)
        server.on("late")(lambda client: events.add("begun"))
        server.on("*")(lambda client, command, message: events.add("begun", command))
        server.on("name_change")(lambda client, old, new: events.add("begun", new))

    server = start_server(wire)
    with (
        Peer.joined(server.addr) as peer,
        Peer.joined(server.addr) as other,
        hisock.ThreadedHiSockClient(server.addr) as caller,
    ):
        caller.start()
        peer.send("hold")
        events.wait_for("began")
        peer.send("late", "x")  # waits for the handler that runs
        other.ask("ping", "so that it has come", answer="pong")
        with closing_in_a_thread(server, LONG):
            peer.send("late", "x")
            other.send("late", "x")
            other.send("unknown", "x")
            other.reserved("CHNAME", "new")
            with pytest.raises(hisock.RemoteError, match="closing"):
                caller.call("late", "x", timeout=PATIENCE)
            other.send("go on")
            assert farewell(peer) == ["held", "DISCONN"]
            assert farewell(other)[-1] == "DISCONN"
    assert not events.named("begun")


def test_a_client_that_leaves_while_the_server_closes_leaves(
    start_server: StartServer, held: Held
) -> None:
    server = start_server(held.wire)
    with Peer.joined(server.addr, "stays") as stays, Peer.joined(server.addr, "goes") as goes:
        stays.send("hold")
        held.events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            goes.reserved("USRCLOSE")
            assert farewell(goes) == ["DISCONN"]
            held.events.wait_for("leave", "goes")
            stays.send("go on")
            assert farewell(stays) == ["held", "DISCONN"]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_is_lost_while_its_handler_runs_holds_up_nothing(
    start_server: StartServer, held: Held, how: str
) -> None:
    server = start_server(held.wire)
    with Peer.joined(server.addr, "other") as other:
        lost = Peer.joined(server.addr, "lost")
        lost.send("hold")
        held.events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            getattr(lost, how)()
            other.send("go on")
            assert farewell(other) == ["DISCONN"]
    assert server.stats().connections == 0


def test_a_handler_that_resists_is_given_up(start_server: StartServer, events: Events) -> None:
    ended = asyncio.Event()

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("hold")
        async def hold() -> None:
            events.add("began")
            while not ended.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait_for(ended.wait(), 1.0)
                    break
                events.add("cancelled")

    server = start_server(wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        events.wait_for("began")
        server.close(timeout=0.1)
        assert farewell(peer) == ["DISCONN"]
    assert events.named("cancelled")


# Ticks


def test_a_tick_that_runs_may_end_and_no_other_begins(
    start_server: StartServer, events: Events
) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.every(0.01)
        async def long_tick() -> None:
            events.add("tick")
            await server.wait_for("go on", timeout=LONG)
            server.send_all_clients("ticked")

        @server.every(3600)
        def never() -> None:
            events.add("never")

    server = start_server(wire)
    with Peer.joined(server.addr) as peer:
        events.wait_for("tick")
        with closing_in_a_thread(server, LONG):
            peer.send("go on")
            assert farewell(peer) == ["ticked", "DISCONN"]
    assert events.seen == [("tick",)]
