"""Large messages, many clients, slow clients: each where a 2.0.2 server stops."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tracemalloc

import pytest
from support import Events, Peer, command_frame, frame, raise_descriptor_limit
from support.fixtures import MakeClient, MakePeer, MakeServer

import hisock

from .conftest import answer_counting

MIB = 1024 * 1024


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that look random and are the same every time."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


def test_messages_of_one_mebibyte_go_both_ways(
    make_server: MakeServer,
    make_client: MakeClient,
    events: Events,
) -> None:
    # As much as may be on its way: whether the client reads in time is not what is tested here.
    server = make_server(send_buffer=8 * MIB)

    @server.on("large")
    def large(client: hisock.ClientInfo, data: bytes) -> None:
        server.send_client(client, "large", data)

    server.start()
    client = make_client(server)
    client.on("large")(lambda data: events.add("large", data))
    client.start()
    for seed in range(8):
        client.send("large", content(MIB, seed))
    for seed in range(8):
        assert events.wait_for("large", count=seed + 1)[1] == content(MIB, seed)


def test_a_large_broadcast_reaches_everybody_whole(
    make_server: MakeServer,
    make_peer: MakePeer,
) -> None:
    server = make_server()
    server.start()
    peers = [make_peer(server) for _ in range(8)]
    assert server.send_all_clients("large", content(4 * MIB)) == 8
    for peer in peers:
        assert peer.wait_for("large").message == content(4 * MIB)


def test_a_message_of_exactly_the_limit_passes(
    make_server: MakeServer,
    make_peer: MakePeer,
) -> None:
    server = make_server(max_message_size=1000)
    server.on("size")(lambda client, data: server.send_client(client, "size", len(data)))
    server.start()
    peer = make_peer(server)
    overhead = len(b"$CMD$size$MSG$")
    assert peer.ask("size", b"x" * (1000 - overhead)).message == str(1000 - overhead).encode()


def test_a_client_that_sends_one_byte_at_a_time_is_understood(
    make_server: MakeServer,
) -> None:
    server = make_server()
    answer_counting(server)
    server.start()
    with Peer(server.addr) as slow:
        stream = frame(b"$CLTHELLO$" + json.dumps({"name": "slow", "group": None}).encode())
        stream += b"".join(command_frame("count", str(number)) for number in range(20))
        for offset in range(len(stream)):
            slow.write(stream[offset : offset + 1])
        answers = [slow.wait_for("counted").message for _ in range(20)]
    assert answers == [str(number).encode() for number in range(20)]


def test_a_client_that_does_not_read_holds_up_nobody(
    make_server: MakeServer,
    make_peer: MakePeer,
) -> None:
    """64 MiB for a client that does not read them yet, while another is served."""
    server = make_server(send_buffer=128 * MIB)
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    deaf, lively = make_peer(server, "deaf"), make_peer(server, "lively")
    for number in range(64):
        server.send_client("deaf", "large", content(MIB, number))
        lively.ask("ping", answer="pong")
    for number in range(64):
        assert deaf.wait_for("large").message == content(MIB, number)


def test_claimed_lengths_allocate_nothing(
    make_server: MakeServer,
    make_peer: MakePeer,
) -> None:
    """100 peers claim 16 MiB each and send a few bytes of it."""
    server = make_server(announce="none")
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.addr)) for _ in range(100)]
        for peer in peers:
            peer.hello()
            peer.ask("ping", answer="pong")
        tracemalloc.start()
        try:
            for peer in peers:
                peer.write(str(16 * MIB).encode().ljust(16) + b"$CMD$")
            with Peer(server.addr) as last:
                last.hello()
                last.ask("ping", answer="pong")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 64 * MIB


@pytest.mark.skipif(sys.platform == "win32", reason="the test itself needs 4,000 descriptors")
def test_two_thousand_clients_at_once(
    make_server: MakeServer,
) -> None:
    """All join and are told of all who join after them, all talk, one message reaches all."""
    size = 2000
    raise_descriptor_limit(3 * size)
    server = make_server()
    answer_counting(server)
    server.start()
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.addr)) for _ in range(size)]
        for number, peer in enumerate(peers):
            peer.hello(f"client {number}")
            peer.send("count", f"{number};")
        received = [
            peer.read_through(b"$CMD$counted$MSG$%d;" % number, timeout=60)
            for number, peer in enumerate(peers)
        ]
        assert len(server) == size
        assert server.send_all_clients("everybody", "hello") == size
        for number, peer in enumerate(peers):
            received[number] += peer.read_through(b"$CMD$everybody$MSG$hello", timeout=60)
    # Who joined first was told of all, who joined last only of itself.
    told = sorted(stream.count(b"$CLTCONN$") for stream in received)
    assert told == list(range(1, size + 1))
