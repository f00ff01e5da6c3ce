"""Clients that take less than is sent to them: bounded memory, and nobody else notices."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
from support import Events, Peer
from support.events import PATIENCE
from support.fixtures import StartServer
from support.polling import eventually

import hisock
from reliability.watching import MIB, on_linux, resident, serves

pytestmark = pytest.mark.usefixtures("nothing_left")
BUFFER = MIB


def deaf(server: hisock.HiSockServer, name: str = "deaf") -> Peer:
    """A client that has joined and takes hardly anything."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(PATIENCE)
    sock.connect(server.addr)
    peer = Peer(("", 0), sock=sock)
    peer.hello(name)
    eventually(lambda: name in server.get_all_clients("name"), f"{name} joins")
    return peer


def send_until(server: hisock.HiSockServer, name: str, done: Callable[[], Any]) -> int:
    """Send a kibibyte again and again; how many were sent."""
    for count in range(100_000):
        if done():
            return count
        try:
            server.send_client(name, "fill", b"x" * 1024)
        except hisock.utils.ClientNotFound:
            return count
    raise AssertionError("100 MB were sent, and nothing happened")


@on_linux
def test_clients_that_never_read_cost_bounded_memory_and_readers_lose_nothing(
    start_server: StartServer,
) -> None:
    """40 that never read and 10 that do. ``python -m soak.slow`` does it for 200 and 100."""
    count = 15_000

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("broadcast")
        def broadcast(client: hisock.ClientInfo, start: int) -> None:
            for number in range(start, start + 100):
                server.send_all_clients("news", f"{number:06}".ljust(1024))

    server = start_server(wire, send_buffer=BUFFER, announce="none")
    with contextlib.ExitStack() as stack:
        for number in range(40):
            stack.enter_context(deaf(server, f"deaf {number}"))
        readers = [stack.enter_context(Peer(server.addr)) for _ in range(10)]
        for reader in readers:
            reader.hello("reader")
        for reader in readers:
            reader.ask("ping", "1", answer="pong")
        memory = resident()
        most = 0
        for start in range(0, count, 100):
            readers[0].send("broadcast", str(start))
            for reader in readers:
                for number in range(start, start + 100):
                    got = reader.wait_for("news").message
                    assert got is not None
                    assert int(got) == number
            most = max(most, resident())
        assert server.stats().ended == {"slow": 40}
        assert len(server) == 10
        # What waits for the deaf, and as much again for what it takes to keep it.
        assert most - memory < 2 * 40 * BUFFER


def test_a_client_that_is_too_slow_is_disconnected(
    start_server: StartServer, events: Events
) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        server.on("leave")(lambda client: events.add("leave", client.name))

    server = start_server(wire, send_buffer=BUFFER)
    with deaf(server) as slow, Peer.joined(server.addr, "lively") as lively:
        send_until(server, "deaf", lambda: False)
        events.wait_for("leave", "deaf")
        assert lively.ask("ping", "1", answer="pong")
        # What had been taken by the system still arrives, up to where it was cut off.
        fills = [got for got in slow.rest() if got.command == "fill"]
        assert all(got.message == b"x" * 1024 for got in fills)
    assert server.stats().ended["slow"] == 1


def test_what_is_newest_is_dropped_and_counted(start_server: StartServer) -> None:
    server = start_server(send_buffer=BUFFER, on_slow="drop", announce="none")
    with deaf(server) as slow:
        count = 0
        while server.stats().dropped < 1000:
            for _ in range(100):
                server.send_client("deaf", "number", f"{count:06}".ljust(1024))
                count += 1
            assert count < 100_000
        assert len(server) == 1
        assert server.backlog("deaf") < 2 * BUFFER
        # Then it reads, catches up, and is told what is new.
        got: list[int] = []

        def caught_up() -> bool:
            server.send_client("deaf", "are you there", b"")
            slow.sock.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                while True:
                    frame = slow.read(0.05)
                    if frame.command == "are you there":
                        return True
                    if frame.command == "number":
                        got.append(int(frame.message or b""))
            return False

        eventually(caught_up, "what is sent now arrives")
        assert got == sorted(set(got))
        assert got[: len(got) // 2] == list(range(len(got) // 2))
        # What was asked again and again may have been dropped as well.
        assert len(got) + server.stats().dropped >= count


def test_a_client_that_is_refused_more_is_told_goodbye_all_the_same(
    start_server: StartServer,
) -> None:
    server = start_server(send_buffer=BUFFER, on_slow="drop", announce="none")
    with deaf(server) as slow:
        send_until(server, "deaf", lambda: server.stats().dropped)
        server.disconnect_client("deaf")
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)
        assert slow.rest()[-1].reserved == "DISCONN"


@pytest.mark.parametrize("answer", ["disconnect", "drop", None])
def test_a_function_decides_about_slow_clients(
    start_server: StartServer, events: Events, answer: Any
) -> None:
    asked = []

    def decide(client: hisock.ClientInfo, backlog: int) -> Any:
        asked.append((client.name, backlog))
        events.add("asked")
        return answer

    server = start_server(send_buffer=BUFFER, on_slow=decide, announce="none")
    with deaf(server):
        send_until(server, "deaf", lambda: events.seen)
        assert asked[0][0] == "deaf"
        assert BUFFER < asked[0][1] < 2 * BUFFER
        if answer == "disconnect":
            eventually(lambda: not len(server), "it is disconnected")
        else:
            serves(server)
            assert "deaf" in server.get_all_clients("name")


def test_a_function_that_fails_to_decide_keeps_memory_bounded(
    start_server: StartServer, events: Events
) -> None:
    def decide(client: hisock.ClientInfo, backlog: int) -> Any:
        raise RuntimeError("undecided")

    server = start_server(send_buffer=BUFFER, on_slow=decide)
    with deaf(server):
        send_until(server, "deaf", lambda: not len(server))
    assert server.stats().ended == {"slow": 1}
    # It is asked again if the client takes some just before its connection is ended.
    assert server.stats().handler_errors in (1, 2)


def test_a_function_that_decides_may_send_to_the_client(start_server: StartServer) -> None:
    asked = []

    def decide(client: hisock.ClientInfo, backlog: int) -> None:
        asked.append(backlog)
        server.send_client(client, "slow", "you are slow")

    server = start_server(send_buffer=BUFFER, on_slow=decide, announce="none")
    with deaf(server):
        send_until(server, "deaf", lambda: len(asked) > 2)
        assert server.stats().handler_errors == 0
        assert asked[2] > asked[1] + BUFFER // 2


def test_a_function_that_decides_may_send_to_other_slow_clients(start_server: StartServer) -> None:
    asked: list[str | None] = []
    deciding = 0
    deepest = 0

    def decide(client: hisock.ClientInfo, backlog: int) -> None:
        nonlocal deciding, deepest
        asked.append(client.name)
        deciding += 1
        deepest = max(deepest, deciding)
        server.send_all_clients("slow", "you are slow")
        deciding -= 1

    server = start_server(send_buffer=BUFFER, on_slow=decide, announce="none")
    with deaf(server, "one"), deaf(server, "two"):
        while len(asked) < 4:
            server.send_all_clients("fill", b"x" * 1024)
        eventually(lambda: {"one", "two"} == set(asked), "both are asked about")
        assert (deepest, server.stats().handler_errors) == (1, 0)


def test_one_large_message_may_pass_the_bound(start_server: StartServer) -> None:
    server = start_server(send_buffer=BUFFER)
    with Peer.joined(server.addr, "reader") as reader:
        reader.ask("ping", "1", answer="pong")
        server.send_client("reader", "large", b"x" * 12 * MIB)
        eventually(lambda: server.backlog("reader") > BUFFER, "it waits")
        got = reader.wait_for("large").message
        assert got is not None
        assert len(got) == 12 * MIB
        eventually(lambda: server.backlog("reader") == 0, "it was taken")


@pytest.mark.parametrize("order", ["large first", "small first"])
def test_a_small_message_beside_a_large_one_harms_no_client_that_reads(
    start_server: StartServer, order: str
) -> None:
    """A picture and then "done", sent by one handler to a client that reads all the time."""

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("picture")
        def picture(client: hisock.ClientInfo) -> None:
            if order == "small first":
                server.send_client(client, "size", 12 * MIB)
            server.send_client(client, "picture", b"x" * 12 * MIB)
            if order == "large first":
                server.send_client(client, "done")

    server = start_server(wire)
    with Peer.joined(server.addr, "reader") as reader:
        reader.send("picture")
        got = reader.wait_for("picture").message
        assert got is not None
        assert len(got) == 12 * MIB
        if order == "large first":
            reader.wait_for("done")
        assert reader.ask("ping", "1", answer="pong")


@pytest.mark.parametrize("how", ["send_client", "send_all_clients"])
@pytest.mark.parametrize("on_slow", ["disconnect", "drop"])
def test_one_handler_that_sends_without_end_is_bounded_too(
    start_server: StartServer, events: Events, how: str, on_slow: Any
) -> None:
    """Nothing is written while it runs, unless somebody sees to it."""

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        server.on("leave")(lambda client: events.add("leave", client.name))

        @server.on("go")
        def go(client: hisock.ClientInfo) -> None:
            most = 0
            for _ in range(30 * 1024):
                if how == "send_client":
                    server.send_client("deaf", "fill", b"x" * 1024)
                else:
                    server.send_all_clients("fill", b"x" * 1024)
                most = max(most, server.backlog("deaf"))
            events.add("sent", most)

    server = start_server(wire, announce="none", send_buffer=BUFFER, on_slow=on_slow)
    with deaf(server) as slow:
        slow.send("go")
        _, most = events.wait_for("sent")
        assert BUFFER < most < BUFFER + 2 * 1024
        if on_slow == "disconnect":
            # Not in the middle of a handler, which may be going through its players.
            events.wait_for("leave", "deaf")
            assert [name for name, *_ in events.seen] == ["sent", "leave"]
        else:
            assert server.stats().dropped > 20 * 1024


def test_volatile_messages_pass_by_a_client_that_is_behind(start_server: StartServer) -> None:
    server = start_server(send_buffer=64 * MIB, announce="none")
    with deaf(server) as slow, Peer(server.addr) as reader:
        reader.hello("reader")
        reader.ask("ping", "1", answer="pong")
        server.send_client("deaf", "large", b"x" * 12 * MIB)
        reader.ask("ping", "2", answer="pong")
        assert server.backlog("deaf") > MIB
        assert server.send_all_clients("now", "1", volatile=True) == 1
        assert reader.wait_for("now").message == b"1"
        got = slow.wait_for("large").message
        assert got is not None
        assert len(got) == 12 * MIB


def test_backlog_is_of_clients_that_are_connected(start_server: StartServer) -> None:
    server = start_server()
    with Peer.joined(server.addr, "ann") as ann:
        ann.ask("ping", "1", answer="pong")
        assert server.backlog("ann") == 0
    eventually(lambda: not len(server), "she leaves")
    with pytest.raises(hisock.utils.ClientNotFound):
        server.backlog("ann")


def test_strangers_that_come_and_go_end_nobody_where_little_may_wait(
    start_server: StartServer,
) -> None:
    server = start_server(send_buffer=65536)
    long = "\N{GRINNING FACE}" * 1024
    joined: list[str | None] = []
    server.on("join")(lambda client: joined.append(client.name))
    with deaf(server):
        for _ in range(40):
            with contextlib.ExitStack() as stack:
                for _ in range(10):
                    stack.enter_context(Peer(server.addr)).hello(long, long)
        eventually(lambda: len(joined) == 401 and len(server.clients) == 1, "they have gone")
        assert server.get_all_clients("name") == ["deaf"]
        assert "slow" not in server.stats().ended
