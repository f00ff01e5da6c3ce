"""Handlers in threads, handlers that raise, callbacks, and the cache of what was handled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import Events, Peer
from support.events import PATIENCE
from support.fixtures import MakeClient, MakePeer, MakeServer
from support.logs import logged

import hisock

# Threads and errors


def test_a_threaded_handler_runs_off_the_loop(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    release = threading.Event()

    @server.on("slow", threaded=True)
    def slow(client: hisock.ClientInfo, message: str) -> None:
        assert release.wait(PATIENCE)
        server.send_client(client, "slow", message)

    @server.on("release")
    def on_release() -> None:
        release.set()

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    peer = make_peer(server)
    peer.send("slow", "done")
    peer.ask("ping", answer="pong")
    peer.send("release")
    assert peer.wait_for("slow").message == b"done"


def test_threaded_reserved_events_run_off_the_loop_too(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()

    @server.on("join", threaded=True)
    def join(client: hisock.ClientInfo) -> None:
        answer = server.recv("name please", str, timeout=PATIENCE)
        server.send_client(client, "hello", answer)

    server.start()
    peer = make_peer(server)
    peer.send("name please", "ann")
    assert peer.wait_for("hello").message == b"ann"


def test_many_threaded_handlers_wait_at_once(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    """Forty handlers that wait for each other."""
    server = make_server()
    barrier = threading.Barrier(40)

    @server.on("meet", threaded=True)
    def meet() -> None:
        barrier.wait(PATIENCE)
        events.add("met")

    server.start()
    peer = make_peer(server)
    for _ in range(40):
        peer.send("meet")
    events.wait_for("met", count=40)


def test_threads_of_handlers_are_reused(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()

    @server.on("work", threaded=True)
    def work(client: hisock.ClientInfo) -> None:
        events.add(threading.get_ident())
        server.send_client(client, "worked")

    server.start()
    peer = make_peer(server)
    for _ in range(100):
        peer.ask("work", answer="worked")
    assert len(set(events.seen)) < 20


@pytest.mark.parametrize("threaded", [False, True])
def test_a_servers_handler_that_raises_is_reported_and_the_loop_goes_on(
    make_server: MakeServer, make_peer: MakePeer, events: Events, threaded: bool
) -> None:
    server = make_server()

    @server.on("explode", threaded=threaded)
    def explode(client: hisock.ClientInfo, number: int) -> None:
        raise KeyError(number)

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    with logged("hisock.server") as log:
        server.start(error_handler=lambda error: events.add(repr(error)))
        peer = make_peer(server, "ann")
        peer.send("explode", "1")
        peer.send("explode", "2")
        peer.ask("ping", answer="pong")
        events.wait_until(lambda seen: sorted(seen) == [("KeyError(1)",), ("KeyError(2)",)])
    assert len(log.messages) == 2
    assert all("explode" in text for text in log.messages)
    assert all(record.exc_info[0] is KeyError for _, record in log.seen)


@pytest.mark.parametrize("threaded", [False, True])
def test_a_clients_handler_that_raises_is_reported_and_the_loop_goes_on(
    make_server: MakeServer, make_client: MakeClient, events: Events, threaded: bool
) -> None:
    server = make_server()
    server.start()
    client = make_client(server, "ann")

    @client.on("explode", threaded=threaded)
    def explode(number: int) -> None:
        raise KeyError(number)

    client.on("fine")(lambda: events.add("fine"))
    with logged("hisock.client") as log:
        client.start(error_handler=lambda error: events.add(repr(error)))
        events_of_join = make_peer_join(server)
        assert events_of_join
        server.send_all_clients("explode", 1)
        server.send_all_clients("fine")
        events.wait_until(lambda seen: set(seen) == {("KeyError(1)",), ("fine",)})
    (text,) = log.messages
    assert "explode" in text


def make_peer_join(server: hisock.HiSockServer) -> bool:
    """Wait until everybody who connected before has joined."""
    with Peer.joined(server.addr):
        return True


def test_without_an_error_handler_the_loop_goes_on_as_well(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()

    @server.on("join")
    def join(client: hisock.ClientInfo) -> None:
        raise RuntimeError("cannot greet")

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    make_peer(server).ask("ping", answer="pong")
    make_peer(server).ask("ping", answer="pong")


def test_an_error_handler_that_raises_does_not_end_the_loop(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()

    @server.on("explode")
    def explode() -> None:
        raise RuntimeError("first")

    def fail(error: Exception) -> None:
        raise RuntimeError("second")

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start(error_handler=fail)
    peer = make_peer(server)
    peer.send("explode")
    peer.ask("ping", answer="pong")


def test_the_callback_is_called_after_each_frame(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    server = make_server()
    server.on("x")(lambda client, message: events.add("handled", message))
    server.start(callback=lambda: events.add("server called back"))
    client = make_client(server)
    client.on("y")(lambda: events.add("client handled"))
    client.start(callback=lambda: events.add("client called back"))
    for number in range(3):
        client.send("x", number)
        events.wait_for("server called back", count=number + 1)
        server.send_all_clients("y")
        events.wait_for("client handled", count=number + 1)

    def is_called_back_last(side: str, handled: str) -> Callable[[list[tuple[Any, ...]]], bool]:
        def check(seen: list[tuple[Any, ...]]) -> bool:
            own = [event[0] for event in seen if event[0] in (f"{side} called back", handled)]
            return own.count(f"{side} called back") >= 3 and own[-1] == f"{side} called back"

        return check

    # The client is called back after its own join announcement too, as by 2.0.2.
    events.wait_until(is_called_back_last("server", "handled"))
    events.wait_until(is_called_back_last("client", "client handled"))


# The cache


def test_the_cache_keeps_the_last_frames(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    server = make_server()
    server.start()
    clients = {size: make_client(server, str(size), cache_size=size) for size in (-1, 0, 3)}
    for client in clients.values():
        client.on("known")(lambda: None)
        client.on("end")(lambda: events.add("end"))
        client.start()
    make_peer_join(server)
    for number in range(5):
        server.send_all_clients("known", number)
    server.send_all_clients("unknown", "x")
    server.send_all_clients("end")
    events.wait_for("end", count=3)
    make_peer_join(server)
    assert clients[-1].get_cache() == []
    kept = clients[0].get_cache()
    assert [member.command for member in kept] == ["known"] * 5 + ["unknown", "end"]
    assert [member.called for member in kept] == [True] * 5 + [False, True]
    assert kept[3].content == b"3"
    assert kept[3].header == str(len(b"$CMD$known$MSG$3")).encode().ljust(16)
    assert kept[5].content == b"$CMD$unknown$MSG$x"
    assert [member.command for member in clients[3].get_cache()] == ["known", "unknown", "end"]
    assert clients[0].get_cache(-1).command == "end"
    assert [member.command for member in clients[0].get_cache(slice(-2, None))] == [
        "unknown",
        "end",
    ]
