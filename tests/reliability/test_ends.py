"""However a client ends, the server hears of it, nobody else notices, and nothing is left of it."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support import Events, Peer, command_frame, frame
from support.fixtures import Run, StartServer
from support.logs import logged
from support.polling import eventually

import hisock
from reliability.watching import LOOPBACK, LOOPS, PROGRAMS, on_linux, serves

pytestmark = pytest.mark.usefixtures("nothing_left")


def record_ends(events: Events) -> Callable[[hisock.ThreadedHiSockServer], None]:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("before")
        def before(client: hisock.ClientInfo, number: int) -> None:
            events.add("before", number)

        @server.on("whole")
        def whole(client: hisock.ClientInfo) -> None:
            events.add("whole")

        @server.on("join")
        def join(client: hisock.ClientInfo) -> None:
            events.add("join", client.name)

        @server.on("leave")
        def leave(client: hisock.ClientInfo) -> None:
            events.add("leave", client.name)

    return wire


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL there")
@pytest.mark.parametrize("announce", ["none", "all"])
def test_a_client_killed_at_any_byte_of_a_frame_leaves(
    start_server: StartServer, run_on_ours: Run, events: Events, announce: str
) -> None:
    """With announcements in its receive buffer the system sends a reset for it, else an end."""
    server = start_server(record_ends(events), announce=announce)
    with run_on_ours(PROGRAMS / "half_frames.py", str(server.addr[1])) as program:
        count = int(program.wait_line(r"^\d+$"))
        events.wait_for("before", count=count)
        program.kill()
        events.wait_for("leave", count=count)
    assert sorted(number for (number,) in events.named("before")) == list(range(count))
    assert not events.named("whole")
    assert len(server) == 0
    ended = server.stats().ended
    assert sum(ended.values()) == count
    assert set(ended) <= {"eof", "cut", "reset"}
    serves(server)


@pytest.mark.parametrize("cut", [0, 1, 16, 20])
def test_a_reset_at_any_place_of_a_frame_is_an_end(
    start_server: StartServer, events: Events, cut: int
) -> None:
    server = start_server(record_ends(events))
    peer = Peer.joined(server.addr, "resets")
    peer.ask("ping", answer="pong")
    peer.write(command_frame("whole", "never complete")[:cut])
    peer.reset()
    events.wait_for("leave", "resets")
    assert server.stats().ended == {"reset": 1}
    serves(server)


def test_clients_that_are_gone_before_they_are_accepted_harm_nobody(
    loop: str, closing: contextlib.ExitStack
) -> None:
    """They said hello and were reset while nobody accepted, so not even their address is known."""
    server = hisock.ThreadedHiSockServer(LOOPBACK, loop=loop)  # type: ignore[arg-type]
    closing.callback(server.close)
    server.on("ping")(lambda client, message: server.send_client(client, "pong", message))
    for number in range(10):
        early = Peer(server.addr)
        early.hello(f"early {number}")
        early.reset()
    with logged("asyncio") as complaints:
        server.start()
        serves(server)
        eventually(lambda: server.stats().connections == 0, "all are gone")
    assert complaints.messages == []
    assert len(server) == 0


@on_linux
@pytest.mark.parametrize("loop_name", LOOPS)
def test_clients_whose_network_is_gone_are_found_by_keepalive(
    run_on_ours: Run, loop_name: str
) -> None:
    """Half-open connections: no packet of theirs arrives any more, nor is any of ours answered."""
    with run_on_ours(PROGRAMS / "half_open.py", loop_name) as program:
        program.wait()
        if program.lines[0].startswith("skip"):
            pytest.skip(f"no network namespaces here: {program.lines[0]}")
        assert program.finish() == [
            "left: {'keepalive': 5}",
            "connections: 0",
            "serves again",
        ], program.errors


def test_a_client_that_never_answers_keepalives_holds_up_no_other(
    start_server: StartServer, events: Events
) -> None:
    server = start_server(record_ends(events), keepalive_interval=0.1, keepalive_timeout=0.3)
    with contextlib.ExitStack() as stack:
        for number in range(5):
            stack.enter_context(Peer.joined(server.addr, f"mute {number}"))
        alive = stack.enter_context(Peer.joined(server.addr, "alive"))
        while len(events.named("leave")) < 5:
            alive.wait_for(lambda got: got.reserved == "KEEPALIVE")
            alive.reserved("KEEPACK")
            alive.ask("ping", "still", answer="pong")
    events.wait_for("leave", "alive")
    assert server.stats().ended["keepalive"] == 5


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="needs SO_REUSEPORT")
def test_one_address_at_two_doors_is_two_clients(
    start_server: StartServer, events: Events, unexpected: Any
) -> None:
    """A client may connect to two listening sockets of a server from the same port of its own."""
    server = start_server(record_ends(events), addr=[LOOPBACK, LOOPBACK])
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        source = LOOPBACK
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(source)
            source = sock.getsockname()
        for name, sock, addr in zip(("one", "two"), sockets, server.addrs, strict=True):
            sock.settimeout(15)
            sock.connect(addr)
            Peer(("", 0), sock=sock).hello(name)
            events.wait_for("join", name)
    events.wait_for("leave", "one")
    events.wait_for("leave", "two")
    eventually(lambda: server.stats().connections == 0, "both are gone")
    assert len(server) == 0


def test_a_client_that_leaves_while_its_handler_runs_is_forgotten(
    start_server: StartServer, events: Events
) -> None:
    """Its async handler goes on, then it has left, and what is sent to it goes nowhere."""
    import asyncio

    let_go: list[asyncio.Event] = []

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        record_ends(events)(server)

        @server.on("long")
        async def long(client: hisock.ClientInfo) -> None:
            let_go.append(asyncio.Event())
            events.add("began")
            await let_go[0].wait()
            server.send_all_clients("late", client.name)
            events.add("ended")

        @server.on("let go")
        def go() -> None:
            let_go[0].set()

    server = start_server(wire)
    with Peer.joined(server.addr, "steady") as steady:
        leaver = Peer.joined(server.addr, "leaver")
        leaver.send("long")
        events.wait_for("began")
        leaver.reset()
        steady.send("let go")
        assert steady.wait_for("late").message == b"leaver"
    events.wait_for("ended")
    events.wait_for("leave", "leaver")
    eventually(lambda: server.stats().connections == 0, "nothing of it is kept")


def test_what_a_bad_reply_meets_while_a_handler_runs_is_only_its_own_connection(
    start_server: StartServer, events: Events
) -> None:
    import asyncio

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        record_ends(events)(server)

        @server.on("wait")
        async def wait(client: hisock.ClientInfo) -> None:
            await asyncio.sleep(0.01)

    server = start_server(wire)
    with logged("hisock.server") as log, Peer(server.addr) as peer:
        peer.reserved("CLTHELLO", '{"name": "bad", "group": null, "features": ["call"]}')
        peer.write(
            command_frame("wait") + frame(b"$REPLY$no number") * 3 + command_frame("before", "1")
        )
        peer.rest()
        events.wait_for("leave", "bad")
    assert server.stats().handler_errors == 0
    assert len(log.messages) == 1, log.messages
    serves(server)
