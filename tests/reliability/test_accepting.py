"""Accepting clients when the process has no descriptors left, and when very many come at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support import Peer, Program
from support.events import PATIENCE
from support.fixtures import Run, StartServer
from support.polling import eventually, until
from support.wire import Closed

import hisock
from hisock._server.acceptor import Acceptor
from reliability.certificates import Authority
from reliability.watching import PROGRAMS, on_linux

pytestmark = pytest.mark.usefixtures("nothing_left")


@dataclass
class Few:
    """A server in a process of its own, which may have few descriptors."""

    program: Program
    port: int
    authority: Authority | None

    def join(self) -> Peer:
        """A client that has joined, and was answered."""
        sock: socket.socket = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        if self.authority is not None:
            context = self.authority.context()
            sock = context.wrap_socket(sock, server_hostname="127.0.0.1")
        peer = Peer(("", 0), sock=sock)
        peer.hello("x")
        peer.ask("ping", "1", answer="pong")
        return peer

    def processor_seconds(self) -> float:
        """What it has spent so far."""
        self.program.tell("cpu")
        return float(self.program.wait_line("cpu").split()[1])


@pytest.fixture(params=["plain", "TLS"])
def few(
    request: pytest.FixtureRequest,
    run_on_ours: Run,
    authority: Authority,
    loop: str,
) -> Iterator[Few]:
    tls = request.param == "TLS"
    certificate = str(authority.server) if tls else "plain"
    with run_on_ours(PROGRAMS / "few_descriptors.py", loop, certificate) as program:
        port = int(program.wait_line("port").split()[1])
        yield Few(program, port, authority if tls else None)
        program.tell("end")
        program.finish()


@contextlib.contextmanager
def flood(port: int, size: int) -> Iterator[list[socket.socket]]:
    """Connections that say nothing, more than the server can accept."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(size)]
        for sock in sockets:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        yield sockets


def hung_up(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@on_linux
def test_a_server_without_descriptors_serves_on_and_waits(few: Few) -> None:
    """Who has joined is served, nobody is sent away, it does not spin, and it says so once."""
    with few.join() as steady:
        with flood(few.port, 150) as waiting:
            for number in range(20):
                assert steady.ask("ping", str(number), answer="pong")
            before = few.processor_seconds()
            time.sleep(1.0)  # not to synchronise: this is the time that is measured
            assert few.processor_seconds() - before < 0.2
            assert steady.ask("ping", "still", answer="pong")
            assert not [sock for sock in waiting if hung_up(sock)]
        # There is room again. TLS may have to find out first that the flood has left.
        eventually(lambda: joins(few), "a client is accepted again")
    refusals = [line for line in few.program.errors.splitlines() if "can be accepted" in line]
    assert len(refusals) == 1
    assert "Traceback" not in few.program.errors


def joins(few: Few) -> bool:
    with contextlib.suppress(OSError, Closed, AssertionError), few.join():
        return True
    return False


@on_linux
def test_who_waited_for_a_descriptor_is_accepted_when_there_is_one(few: Few) -> None:
    if few.authority is not None:
        pytest.skip("those of the flood would have to shake hands")
    with few.join() as steady, flood(few.port, 150), Peer(("127.0.0.1", few.port)) as late:
        late.hello("late")
        late.send("ping", "late")
        assert steady.ask("ping", "1", answer="pong")
        few.program.tell("room")
        assert late.wait_for("pong").message == b"late"


def test_a_crowd_that_connects_at_once_holds_up_nobody(start_server: StartServer) -> None:
    """Many more than are accepted in one go, before the server has begun to accept."""
    early: list[Peer] = []

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        for number in range(300):
            peer = Peer(server.addr)
            peer.hello(str(number))
            peer.send("ping", str(number))
            early.append(peer)

    try:
        server = start_server(wire, announce="none")
        for number, peer in enumerate(early):
            assert peer.wait_for("pong").message == str(number).encode()
    finally:
        for peer in early:
            peer.close()
    assert server.stats().joins == 300


def test_small_messages_of_accepted_clients_are_not_held_back(start_server: StartServer) -> None:
    """TCP_NODELAY, which listening sockets hand on where the loop does not set it."""
    nodelay = []

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("join")
        def join(client: Any) -> None:
            sock = client._peer._transport.get_extra_info("socket")
            nodelay.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    server = start_server(wire)
    with Peer.joined(server.addr):
        assert nodelay[0]


@pytest.mark.parametrize("chosen", ["asyncio", "auto"])
def test_a_client_that_is_reset_before_it_is_accepted_keeps_its_address(chosen: Any) -> None:
    """It has none to ask for by then, and must not be taken for one on a Unix socket."""
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), loop=chosen)
    asked: list[tuple[str, int]] = []
    server.authenticate(lambda request: asked.append(request.addr))
    expected: list[tuple[str, int]] = []
    for _ in range(20):
        peer = Peer(server.addr)
        expected.append(peer.addr)
        peer.hello("Ada")
        peer.reset()
    with server:
        server.start()
        last = Peer(server.addr)
        last.hello("Bob")
        eventually(lambda: last.addr in asked, "the last one is asked about")
        last.close()
    assert set(asked) <= {*expected, last.addr}


class HeldUp:
    """A client that floods: it waits for its turn, again and again."""

    def __init__(self, server: hisock.HiSockServer) -> None:
        self._turns = server._hub.runner.turns
        self.over = False

    def begin(self) -> None: ...

    def idle(self) -> None:
        if not self.over:
            self._turns.hold_up(self)


@pytest.mark.parametrize("flooded", [True, False])
def test_newcomers_come_in_one_by_one_while_others_wait_for_their_turn(
    monkeypatch: pytest.MonkeyPatch, flooded: bool
) -> None:
    """Sixteen came with each iteration of the loop, which took 25 ms where they flooded too."""
    taken: list[int] = []
    take, take_some = Acceptor._take, Acceptor._take_some

    def note(self: Acceptor, sock: socket.socket, peername: Any) -> None:
        taken[-1] += 1
        take(self, sock, peername)

    def begin(self: Acceptor) -> None:
        taken.append(0)
        take_some(self)

    monkeypatch.setattr(Acceptor, "_take", note)
    monkeypatch.setattr(Acceptor, "_take_some", begin)

    async def play() -> None:
        async with hisock.HiSockServer(("127.0.0.1", 0)) as server:
            held = HeldUp(server)
            if flooded:
                held.idle()
            with contextlib.ExitStack() as closing:
                for _ in range(8):
                    closing.enter_context(socket.create_connection(server.addr))
                await until(lambda: server.stats().connections == 8)
            held.over = True
            assert max(taken) == (1 if flooded else 8)

    asyncio.run(asyncio.wait_for(play(), 2 * PATIENCE))
