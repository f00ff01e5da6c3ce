"""What one client, one address, or all strangers together may use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from support import Events, Peer, command_frame, frame
from support.events import PATIENCE
from support.fixtures import StartServer
from support.logs import logged
from support.polling import eventually
from support.wire import Closed

import hisock
from reliability.watching import MIB, on_linux, resident, serves

pytestmark = pytest.mark.usefixtures("nothing_left")
HELLO = json.dumps({"name": "modern", "group": None, "features": ["call", "reject"]})


def connect_from(addr: tuple[str, int], source: str) -> Peer:
    sock = socket.create_connection(addr, timeout=PATIENCE, source_address=(source, 0))
    return Peer(addr, sock=sock)


def modern(peer: Peer) -> Peer:
    peer.reserved("CLTHELLO", HELLO)
    return peer


def let_in(peer: Peer) -> bool:
    """Whether a peer that has said hello is answered."""
    peer.send("ping", "1")
    try:
        while True:
            if peer.read().command == "pong":
                return True
    except Closed:
        return False


# Connections


def test_clients_over_the_limit_are_refused_and_told_why(
    start_server: StartServer, unexpected: Any
) -> None:
    server = start_server(max_connections=3)
    with contextlib.ExitStack() as stack:
        inside = [stack.enter_context(Peer.joined(server.addr, str(n))) for n in range(3)]
        with modern(Peer(server.addr)) as refused:
            reject, goodbye = refused.rest()
        assert (reject.reserved, goodbye.reserved) == ("REJECT", "DISCONN")
        assert b"3" in reject.data
        with Peer(server.addr) as old:
            old.hello("2.0.2 knows no REJECT")
            assert [got.reserved for got in old.rest()] == ["DISCONN"]
        with pytest.raises(hisock.ConnectionRejected, match="full"):
            hisock.connect(server.addr, token="waits for the answer")
        for number, peer in enumerate(inside):
            assert peer.ask("ping", str(number), answer="pong").message == str(number).encode()
        assert server.stats().ended == {"full": 3}
        assert len(server) == 3
        inside[0].close()
        eventually(lambda: len(server) == 2, "one leaves")
        serves(server)


def test_a_limit_holds_against_those_who_say_nothing(start_server: StartServer) -> None:
    """Connections count, not only clients that have joined, and refused ones hold no place."""
    server = start_server(max_connections=5, hello_timeout=0.5)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Peer(server.addr)) for _ in range(300)]
        for peer in silent:
            peer.rest()
    eventually(lambda: server.stats().connections == 0, "all of them are gone")
    serves(server)
    ended = server.stats().ended
    assert ended["full"] + ended["hello"] == 300


@pytest.mark.skipif(sys.platform == "darwin", reason="has only one loopback address")
def test_an_address_over_its_limit_leaves_room_for_others(start_server: StartServer) -> None:
    server = start_server(max_connections_per_ip=2)
    with contextlib.ExitStack() as stack:
        for source in ("127.0.0.1", "127.0.0.2"):
            for name in ("one", "two"):
                peer = stack.enter_context(connect_from(server.addr, source))
                peer.hello(name)
                assert let_in(peer)
            with connect_from(server.addr, source) as third:
                modern(third)
                assert b"one address" in third.rest()[0].data
        assert len(server) == 4
    eventually(lambda: not len(server), "all leave")
    serves(server)


# Messages


def count_numbers(events: Events) -> Callable[[hisock.ThreadedHiSockServer], None]:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("number")
        def number(client: hisock.ClientInfo, value: int) -> None:
            events.add(client.name, value)

    return wire


def numbers(count: int) -> bytes:
    return b"".join(command_frame("number", str(number)) for number in range(count))


def test_a_flood_ends_the_client_that_sends_it(start_server: StartServer, events: Events) -> None:
    server = start_server(count_numbers(events), rate_limit=(10, 50))
    with Peer.joined(server.addr, "calm") as calm, Peer.joined(server.addr, "flood") as flood:
        calm.write(numbers(20))
        flood.write(numbers(2000))
        flood.rest()
        assert calm.ask("ping", "1", answer="pong")
    handled = [value for name, value in events.seen if name == "flood"]
    # The hello was one of the fifty.
    assert handled == list(range(len(handled)))
    assert 40 <= len(handled) <= 60
    assert [value for name, value in events.seen if name == "calm"] == list(range(20))
    assert server.stats().ended["flood"] == 1


def test_a_flood_that_is_paused_loses_nothing(start_server: StartServer, events: Events) -> None:
    server = start_server(
        count_numbers(events),
        rate_limit=(400, 50),
        on_flood="pause",
        keepalive_interval=0.1,
        keepalive_timeout=0.1,
    )
    count = 600
    began = time.monotonic()
    with Peer.joined(server.addr, "flood") as flood:
        for start in range(0, count, 20):
            flood.write(b"".join(command_frame("number", str(n)) for n in range(start, start + 20)))
        events.wait_for("flood", count - 1, timeout=60)
        flood.ask("ping", "1", answer="pong")
        assert time.monotonic() - began > (count - 50) / 400 - 0.2
        assert server.stats().ended == {}
    assert [value for _, value in events.seen] == list(range(count))


def test_a_paused_flood_holds_up_nobody_else(start_server: StartServer, events: Events) -> None:
    server = start_server(
        count_numbers(events),
        rate_limit=(5, 20),
        on_flood="pause",
        keepalive_interval=0.2,
        keepalive_timeout=2.0,
    )
    with Peer.joined(server.addr, "flood") as flood, Peer.joined(server.addr, "calm") as calm:
        flood.sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                flood.write(numbers(1000))
        for number in range(10):
            assert calm.ask("ping", str(number), answer="pong")
    # Nothing is read of it for minutes to come, so it is the keepalives that find out.
    eventually(lambda: not len(server), "both leave")


# Memory


@on_linux
def test_incomplete_frames_of_all_together_are_bounded(
    start_server: StartServer, events: Events
) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        server.on("leave")(lambda client: events.add("leave", client.name))

    server = start_server(wire, max_buffered=8 * MIB, announce="none")
    with contextlib.ExitStack() as stack:
        modest = stack.enter_context(Peer(server.addr))
        modest.hello("modest")
        # Less than each of thirty holds when they are read in turn and have filled 8 MiB together.
        modest.write(frame(b"x" * MIB)[: MIB // 16])
        greedy = []
        for number in range(30):
            peer = stack.enter_context(Peer(server.addr))
            peer.hello(f"greedy {number}")
            with contextlib.suppress(ConnectionError):
                peer.write(frame(b"x" * 15 * MIB)[:MIB])
            greedy.append(peer)
        events.wait_for("leave", count=20)
        assert ("leave", "modest") not in events.seen
        # Not at every moment: the one with the most is ended when there is too much.
        eventually(lambda: server.stats().buffered_bytes <= 8 * MIB, "enough have left")
        serves(server)
        modest.write(frame(b"x" * MIB)[MIB // 16 :])
        modest.ask("ping", "1", answer="pong")
    eventually(lambda: server.stats().buffered_bytes == 0, "what is gone is not counted")
    assert server.stats().ended["memory"] >= 20


def send_much(peer: Peer, mebibytes: int) -> int:
    """Send commands of one mebibyte until the server takes no more; how many it took."""
    peer.sock.settimeout(1.0)
    large = command_frame("large", b"x" * MIB)
    for sent in range(mebibytes):
        try:
            peer.write(large)
        except (TimeoutError, ConnectionError):
            return sent
    return mebibytes


@on_linux
@pytest.mark.parametrize("when", ["before it is let in", "while an async handler runs"])
def test_what_waits_for_the_server_itself_is_bounded(
    start_server: StartServer, events: Events, when: str
) -> None:
    """A client may send as much as it likes while the server is not yet ready for it."""
    before = when == "before it is let in"

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        if before:

            @server.authenticate
            async def authenticate(name: str) -> None:
                events.add("busy")
                await asyncio.sleep(3600)

        @server.on("busy")
        async def busy(client: hisock.ClientInfo) -> None:
            events.add("busy")
            await asyncio.sleep(3600)

        @server.on("large")
        def large(client: hisock.ClientInfo, message: bytes) -> None:
            pass

    server = start_server(wire, max_buffered=32 * MIB, auth_timeout=600)
    with Peer(server.addr) as peer:
        peer.hello("x")
        if not before:
            peer.send("busy")
        events.wait_for("busy")
        memory = resident()
        send_much(peer, 300)
        assert resident() - memory < 64 * MIB


@on_linux
def test_one_client_cannot_start_threads_without_end(
    start_server: StartServer, closing: contextlib.ExitStack
) -> None:
    import threading

    let_go = threading.Event()

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        server.on("wait", threaded=True)(lambda: let_go.wait(PATIENCE))

    server = start_server(wire)
    closing.callback(let_go.set)
    with Peer.joined(server.addr, "busy") as busy:
        busy.write(command_frame("wait") * 2000)
        serves(server)
        busy.sock.settimeout(1)
        with contextlib.suppress(TimeoutError):
            busy.ask("ping", "1", answer="pong")
        assert threading.active_count() < 300


def test_deeply_nested_messages_cost_only_themselves(
    start_server: StartServer, events: Events
) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("nested")
        def nested(client: hisock.ClientInfo, value: list[Any]) -> None:
            events.add("handled")

    server = start_server(wire)
    with logged("hisock.server", logging.WARNING) as log, Peer.joined(server.addr, "x") as peer:
        peer.send("nested", b"[" * 100_000)
        peer.ask("ping", "1", answer="pong")
    assert not events.seen
    assert len(log.messages) == 1
    assert len(log.messages[0]) < 1000
