"""Sending to some, and what becomes of state that a slow peer has not taken yet."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support import Events, Frame, Peer
from support.events import PATIENCE
from support.fixtures import MakePeer, MakeServer

import hisock

from .loops import LOOPBACK, Seen, on_loops, within

KIB = bytes(1024)


def run_on_loop(server: hisock.HiSockServer, func: Callable[[], Any]) -> Any:
    """Call something in a handler's place, on the server's loop, and wait for it."""
    outcome: list[Any] = []
    done = threading.Event()

    def run() -> None:
        outcome.append(func())
        done.set()

    server._hub.loop.call_soon_threadsafe(run)
    assert done.wait(PATIENCE)
    return outcome[0]


def slow_peer(server: hisock.HiSockServer, name: str) -> Peer:
    """A peer that the system holds little for."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(PATIENCE)
    sock.connect(server.addr)
    peer = Peer(server.addr, sock=sock)
    peer.hello(name)
    peer.wait_for(lambda f: f.reserved == "CLTCONN" and f.json["ip"] == list(peer.addr))
    return peer


def number_of(frame: Frame) -> int:
    assert frame.message is not None
    return int(frame.message[:8])


# Volatile


def test_a_peer_that_is_behind_gets_no_volatile_messages_and_memory_stays_flat(
    make_server: MakeServer, events: Events
) -> None:
    server = make_server()
    server.on("took")(lambda client, number: events.add("took", int(number)))
    server.start()
    slow, quick = slow_peer(server, "slow"), Peer.joined(server.addr, "quick")

    def send(number: int) -> None:
        server.send_all_clients("state", b"%08d" % number + KIB, volatile=True)

    with slow, quick:
        tracemalloc.start()
        try:
            for number in range(10_000):
                send(number)
                if number == 1000:
                    before, _ = tracemalloc.get_traced_memory()
                    tracemalloc.reset_peak()
                if not number % 50:
                    # The quick one has taken all so far, so that it is never behind.
                    while number_of(quick.wait_for("state")) < number:
                        pass
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak - before < 1_000_000  # what was sent since is nine times that
        assert len(server) == 2, "being behind is no reason to disconnect it"
        # It gets what had been sent before it fell behind, in order, without a gap.
        server.send_client("slow", "ordinary")
        numbers = []
        while (frame := slow.read()).command != "ordinary":
            if frame.command == "state":
                numbers.append(number_of(frame))
        assert numbers[:100] == list(range(100))
        assert numbers == sorted(numbers)
        assert len(numbers) < 5000
        # And now that it has caught up, it gets the newest state again.
        send(10_000)
        assert number_of(slow.wait_for("state")) == 10_000


def test_a_peer_that_keeps_up_gets_every_volatile_message(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()
    server.start()
    peer = make_peer(server, "quick")
    for number in range(2000):
        server.send_client("quick", "state", b"%08d" % number, volatile=True)
        assert number_of(peer.read()) == number


# Latest


@pytest.mark.parametrize("how", ["client", "all", "group", "room", "many"])
def test_a_slow_peer_gets_the_newest_state_instead_of_a_backlog(
    make_server: MakeServer, events: Events, how: str
) -> None:
    server = make_server()
    server.on("group_change")(lambda client, old, new: events.add("moved", new))
    server.start()
    with slow_peer(server, "slow") as slow:
        server.join_room("slow", "lobby")
        slow.reserved("CHGROUP", "red")
        events.wait_for("moved", "red")
        ways: dict[str, Callable[..., Any]] = {
            "client": lambda *args, **more: server.send_client("slow", *args, **more),
            "all": server.send_all_clients,
            "group": lambda *args, **more: server.send_group("red", *args, **more),
            "room": lambda *args, **more: server.send_room("lobby", *args, **more),
            "many": lambda *args, **more: server.send_many(["slow"], *args, **more),
        }
        send = ways[how]
        tracemalloc.start()
        try:
            for number in range(2000):
                content = b"%08d" % number + 8 * KIB
                # Each is written, or waits, before the next comes.
                run_on_loop(server, partial(send, "state", content, latest="state"))
                if number == 1500:
                    before, _ = tracemalloc.get_traced_memory()
                    tracemalloc.reset_peak()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak - before < 500_000
        assert len(server) == 1
        numbers: list[int] = []
        while not numbers or numbers[-1] < 1999:
            numbers.append(number_of(slow.wait_for("state")))
        # What was written while it kept up, then nothing but the newest.
        assert numbers[:-1] == list(range(len(numbers) - 1))
        assert len(numbers) < 1500
        send("state", b"%08d" % 2000, latest="state")
        assert number_of(slow.wait_for("state")) == 2000


def test_each_key_has_its_newest_and_other_messages_all_arrive(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    with slow_peer(server, "slow") as slow:
        block(server)
        for number in range(1000):
            player = number % 10
            content = b"%08d" % number
            server.send_client("slow", f"player {player}", content, latest=f"player {player}")
            server.send_client("slow", "event", content)
        server.send_client("slow", "over")
        events: list[int] = []
        state: dict[str, int] = {}
        seen_over = False
        while len(state) < 10 or len(events) < 1000 or not seen_over:
            frame = slow.read()
            if frame.command == "event":
                events.append(number_of(frame))
            elif frame.command == "over":
                seen_over = True
            elif frame.command is not None and frame.command.startswith("player"):
                assert frame.command not in state
                state[frame.command] = number_of(frame)
        assert events == list(range(1000))
        assert state == {f"player {n}": 990 + n for n in range(10)}


def block(server: hisock.HiSockServer) -> None:
    """Send to a peer that does not read until it is behind."""
    (connection,) = server._registry
    for _ in range(20_000):
        if connection.writer.paused:
            return
        run_on_loop(server, lambda: server.send_all_clients("padding", KIB))
    raise AssertionError("it takes everything")


def test_messages_of_one_turn_of_the_loop_are_replaced_too(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()
    server.start()
    peer = make_peer(server, "Ada")

    def send() -> None:
        for number in range(100):
            server.send_client("Ada", "state", number, latest="state")
        server.send_client("Ada", "ordinary")

    run_on_loop(server, send)
    assert [(f.command, f.message) for f in (peer.read(), peer.read())] == [
        ("ordinary", None),
        ("state", b"99"),
    ]


def test_the_newest_state_arrives_before_a_goodbye(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()
    server.start()
    for how in ("kick", "close"):
        peer = make_peer(server, "Ada")

        def end(how: str = how) -> None:
            server.send_client("Ada", "score", 42, latest="score")
            if how == "kick":
                server.disconnect_client("Ada")
            else:
                server.close()

        run_on_loop(server, end)
        got = peer.rest()
        assert [f.message for f in got if f.command == "score"] == [b"42"]


def test_state_sent_by_other_threads_ends_with_the_newest(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()
    server.start()
    peers = {f"peer {n}": make_peer(server, f"peer {n}") for n in range(3)}
    wrong: list[Any] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # a thread may be interrupted anywhere

    def send(name: str, rounds: int) -> None:
        try:
            for number in range(rounds):
                for step in range(3):
                    state = b"%08d" % (3 * number + step)
                    server.send_client(name, "state", state, latest="state")
                while number_of(peers[name].wait_for("state", 5)) < 3 * number + 2:
                    pass
        except Exception as exc:
            wrong.append((name, exc))

    threads = [threading.Thread(target=send, args=(name, 700)) for name in peers]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * PATIENCE)
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def test_threads_find_and_reach_a_client_while_it_renames_itself(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()
    server.start()
    peer = make_peer(server, "Ada", "red")
    server.join_room("Ada", "lobby")
    stop = threading.Event()
    wrong: list[Exception] = []

    def use() -> None:
        while not stop.is_set():
            try:
                assert server.get_client("Ada").addr == peer.addr
                server.send_client("Ada", "x", volatile=True)
                assert len(server.get_group("red")) == 1
                assert server.send_room("lobby", "x", volatile=True) <= 1
                assert server.rooms(peer.ip) == {"lobby"}
            except Exception as exc:
                wrong.append(exc)
                return

    thread = threading.Thread(target=use)
    thread.start()
    for number in range(200):
        # What changes leaves the other as it is.
        peer.reserved("CHNAME", "Ada")
        peer.reserved("CHGROUP", "red")
        if not number % 100:
            # Among all that is sent to it; to read that frame by frame takes a minute.
            peer.reserved("GETCLT", f"nobody {number}")
            peer.read_through(b"$NOEXIST$")
    stop.set()
    thread.join(PATIENCE)
    assert not wrong


@on_loops
async def test_state_for_a_client_that_has_left_is_nobodys() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        seen = Seen()
        server.on("join")(lambda client: seen.add("join", client))
        server.on("leave")(lambda client: seen.add("leave", client))
        client = await hisock.async_connect(server.addr, "Ada")
        (info,) = await seen.until_named("join")
        await within(client.close())
        await seen.until_named("leave")
        ways: list[dict[str, Any]] = [{"latest": "key"}, {"volatile": True}, {}]
        for options in ways:
            with pytest.raises(hisock.ClientNotFound):
                server.send_client(info, "state", 1, **options)
            assert server.send_all_clients("state", 1, **options) == 0
        await asyncio.sleep(0)


@on_loops
async def test_the_newest_state_comes_before_the_goodbye() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        seen = Seen()
        server.on("join")(lambda client: seen.add("join", client))
        client = await hisock.async_connect(server.addr, "Ada")
        client.on("state")(lambda number: seen.add("state", number))
        client.on("force_disconnect")(lambda: seen.add("goodbye", None))
        (info,) = await seen.until_named("join")
        server.send_client(info, "state", 1, latest="key")
        server.disconnect_client(info)
        await seen.until_named("goodbye")
        assert seen.named("state") == [(b"1",)]
