"""While a server closes, what waits for its clients is written, and nobody new comes in."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import time
from typing import Any

import pytest
from support import Peer, frame
from support.events import PATIENCE
from support.fixtures import StartServer
from support.polling import eventually

import hisock
from reliability.certificates import Authority
from reliability.watching import LOOPBACK, MIB, answer_pings

from .shutting import LONG, Held, closing_in_a_thread, farewell, told

pytestmark = pytest.mark.usefixtures("nothing_left")
# Output


@pytest.fixture(params=["plain", "TLS"])
def tls(request: pytest.FixtureRequest, authority: Authority) -> Authority | None:
    return authority if request.param == "TLS" else None


def slow_peer(server: hisock.HiSockServer, authority: Authority | None) -> Peer:
    """A client that has joined, with little room for what it has not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.settimeout(PATIENCE)
    sock.connect(server.addr)
    if authority is not None:
        sock = authority.context().wrap_socket(sock, server_hostname="localhost")
    peer = Peer(("", 0), sock=sock)
    peer.hello("slow")
    peer.ask("ping", "1", answer="pong")
    return peer


def start_with(
    start_server: StartServer, authority: Authority | None, **options: Any
) -> hisock.ThreadedHiSockServer:
    if authority is not None:
        options["ssl"] = (authority.server, authority.server)
    return start_server(send_buffer=64 * MIB, announce="none", **options)


def read_slowly(peer: Peer) -> bytes:
    """Everything until the end, about 4 MiB a second, saying something after each piece."""
    received = bytearray()
    while data := peer.sock.recv(65536):
        received += data
        time.sleep(len(data) / (4 * MIB))  # not to synchronise: this is what makes it slow
        with contextlib.suppress(OSError):
            peer.send("ping", "still here")
    return bytes(received)


def test_what_waits_for_a_slow_client_arrives_whole(
    start_server: StartServer, tls: Authority | None
) -> None:
    """8 MiB, which take it longer than a client may linger that has everything."""
    server = start_with(start_server, tls)
    content = hashlib.shake_128(b"8 MiB").digest(8 * MIB)
    with slow_peer(server, tls) as slow:
        for start in range(0, 8 * MIB, MIB):
            server.send_client("slow", "part", content[start : start + MIB])
        with closing_in_a_thread(server, LONG):
            received = read_slowly(slow)
            slow.close()  # which the server waits for
    wanted = b"".join(
        frame(b"$CMD$part$MSG$" + content[start : start + MIB]) for start in range(0, 8 * MIB, MIB)
    )
    # What it said before the listener was closed may have been answered yet.
    pong = frame(b"$CMD$pong$MSG$still here")
    assert received.startswith(wanted)
    assert received[len(wanted) :].replace(pong, b"") == frame(b"$DISCONN$")


def test_a_client_that_never_reads_holds_it_up_no_longer_than_the_timeout(
    start_server: StartServer, tls: Authority | None
) -> None:
    server = start_with(start_server, tls)
    with slow_peer(server, tls):
        for _ in range(32):
            server.send_client("slow", "part", b"x" * MIB)
        began = time.monotonic()
        server.close(timeout=1.0)
        # It is waited for, but not more than that.
        assert 0.9 < time.monotonic() - began < 1.0 + PATIENCE / 3


def test_a_client_that_has_everything_and_stays_is_not_waited_for(
    start_server: StartServer, tls: Authority | None
) -> None:
    """It has read its goodbye, and never closes its own end."""
    server = start_with(start_server, tls)
    with slow_peer(server, tls) as stays:
        began = time.monotonic()
        with closing_in_a_thread(server, LONG):
            assert stays.read().reserved == "DISCONN"
        assert time.monotonic() - began < PATIENCE


def test_a_client_that_is_slow_to_confirm_the_end_of_tls_is_closed_once(
    closing: contextlib.ExitStack, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a transport that was closed twice the server lost the socket, and its thread ended."""
    server = hisock.ThreadedHiSockServer(
        LOOPBACK, loop="asyncio", ssl=(authority.server, authority.server)
    )
    closing.callback(server.close)
    answer_pings(server)
    server.start()
    stays = closing.enter_context(slow_peer(server, authority))
    # As the system says it: all is confirmed, what closing adds is not, then that is as well.
    answers = iter([0, 1, 0, 1])
    monkeypatch.setattr("hisock._runtime.sockets.unsent", lambda sock: next(answers, 0))
    with closing_in_a_thread(server, LONG):
        assert stays.read().reserved == "DISCONN"
    assert next(answers, None) is None, "the system was not asked often enough"


def test_the_newest_state_arrives_before_the_goodbye(
    start_server: StartServer, tls: Authority | None
) -> None:
    """Also for a client that is behind, to which nothing of the kind is written otherwise."""
    server = start_with(start_server, tls)
    with slow_peer(server, tls) as slow:
        for _ in range(16):  # the system takes up to 4 MiB, and more on some machines
            server.send_client("slow", "part", b"x" * MIB)
        eventually(lambda: server.backlog("slow") > 0, "it is behind")
        for number in range(10):
            server.send_client("slow", "state", number, latest="state")
        with closing_in_a_thread(server, LONG):
            frames = slow.rest()
            slow.close()
    assert told(frames)[:16] == ["part"] * 16
    assert told(frames)[-2:] == ["state", "DISCONN"]
    assert frames[-2].message == b"9"


# Nobody new


def test_nobody_joins_while_the_server_closes(start_server: StartServer, held_async: Held) -> None:
    """Neither who comes, nor who was in the door, nor who is being decided about."""
    events = held_async.events

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        held_async.wire(server)
        server.on("join")(lambda client: events.add("join", client.name))

        @server.authenticate
        async def authenticate(name: str) -> None:
            if name == "undecided":
                events.add("asked")
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(LONG)

    server = start_server(wire)
    with (
        Peer.joined(server.addr, "inside") as inside,
        Peer(server.addr) as silent,
        Peer(server.addr) as undecided,
    ):
        undecided.hello("undecided")
        events.wait_for("asked")
        inside.send("hold")
        events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            assert farewell(undecided) == ["DISCONN"]
            assert silent.rest() == []
            with contextlib.suppress(OSError):
                silent.hello("late")
            inside.send("go on")
            assert farewell(inside) == ["held", "DISCONN"]
    assert events.named("join") == [("inside",)]


def test_handshakes_are_broken_off_when_the_server_closes(
    start_server: StartServer, held_async: Held, authority: Authority
) -> None:
    server = start_server(
        held_async.wire, ssl=(authority.server, authority.server), hello_timeout=LONG
    )
    with slow_peer(server, authority) as inside, contextlib.ExitStack() as stack:
        shaking = [stack.enter_context(Peer(server.addr)) for _ in range(3)]
        for peer, start in zip(shaking, (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"), strict=True):
            peer.write(start)
        inside.send("hold")
        held_async.events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            for peer in shaking:
                assert peer.rest() == []
            inside.send("go on")
            assert farewell(inside)[-2:] == ["held", "DISCONN"]
