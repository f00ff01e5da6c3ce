"""Sockets that are written to past their transports: which, in what order, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from features.loops import on_loops, within
from features.wire import HandServer
from support import Events, Frame, Peer
from support.events import PATIENCE
from support.fixtures import MakePeer, MakeServer
from support.logs import logged
from support.polling import eventually

import hisock
from hisock._runtime.transport_flusher import _plain_descriptor
from reliability.certificates import Authority
from reliability.watching import PROGRAMS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sockets there are no descriptors")

#: What a read that meets a reset says of it.
RESET = f"[Errno {errno.ECONNRESET}] {os.strerror(errno.ECONNRESET)}"


@pytest.fixture
def server(loop: Any, make_server: MakeServer) -> hisock.ThreadedHiSockServer:
    return make_server(loop=loop)


def descriptors(server: hisock.HiSockServer) -> list[int]:
    """Of the sockets that are written to past their transports; -1 for a client without."""
    return [connection.writer.descriptor for connection in server._hub.registry]


def through(peer: Peer, command: str) -> list[Frame]:
    """All frames that come, up to the first with a command."""
    frames = [peer.read()]
    while frames[-1].command != command:
        frames.append(peer.read())
    return frames


def test_the_socket_of_another_that_got_the_same_number_is_left_alone(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, events: Events
) -> None:
    """A client leaves while its handler runs, and the system gives its descriptor to the next."""
    go = asyncio.Event()

    @server.on("ask")
    async def ask(client: hisock.ClientInfo) -> None:
        events.add("began", client.name)
        await go.wait()
        with contextlib.suppress(hisock.utils.ClientNotFound):
            server.send_client(client, "secret", "for the first")
        events.add("ended")

    @server.on("hello")
    def hello(client: hisock.ClientInfo) -> None:
        server.send_client(client, "hello", "for the second")

    server.start()
    first = make_peer(server, name="first")
    (number,) = descriptors(server)
    assert number >= 0
    first.send("ask")
    events.wait_for("began")
    first.reset()
    eventually(lambda: descriptors(server) == [-1], "the server sees that the first is gone")
    second = make_peer(server, name="second")
    assert number in descriptors(server), "this shows nothing: the number was not used again"
    server._hub.loop.call_soon_threadsafe(go.set)
    events.wait_for("ended")
    second.send("hello")
    assert "secret" not in {frame.command for frame in through(second, "hello")}


def test_nothing_overtakes_what_the_transport_holds(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    """Frames of all lengths, to a client that reads in between: some go past it, some do not."""
    lengths = [10, 300_000, 20, 70_000, 30, 65_000, 1_000_000, 40, 50] * 2

    @server.on("go")
    def send(client: hisock.ClientInfo, number: int = 0) -> None:
        server.send_client(client, "numbered", f"{number:06}".encode().ljust(lengths[number], b"."))
        if number + 1 < len(lengths):
            server._hub.loop.call_later(0.001, send, client, number + 1)

    server.start()
    peer = make_peer(server)
    peer.send("go")
    for number, length in enumerate(lengths):
        message = peer.wait_for("numbered").message
        assert message is not None
        assert (int(message[:6]), len(message)) == (number, length)


def test_tls_is_left_to_its_transport(
    loop: Any, make_server: MakeServer, authority: Authority, tmp_path: Path
) -> None:
    """Plain sockets are written to, of every family."""
    found = {}
    servers: list[tuple[str, Any, Any]] = [
        ("TCP", ("127.0.0.1", 0), None),
        ("Unix", tmp_path / "socket", None),
        ("TLS", ("127.0.0.1", 0), (authority.server, authority.server)),
    ]
    for kind, addr, tls in servers:
        with hisock.ThreadedHiSockServer(addr, loop=loop, ssl=tls) as server:
            server.start()
            trusted = authority.context() if tls else None
            with hisock.threaded_connect(server.addr, ssl=trusted, name=kind):
                eventually(server.get_all_clients, "it joins")
                found[kind] = descriptors(server)[0] >= 0
    assert found == {"TCP": True, "Unix": True, "TLS": False}


def wait_until_reset(descriptor: int) -> None:
    """Have the reset arrive without a read that would be told of it."""
    poll = select.poll()
    poll.register(descriptor, 0)  # errors are always told
    assert poll.poll(PATIENCE * 1000)


@pytest.mark.parametrize("met_by", ["read", "write"])
def test_a_server_says_that_it_was_reset_wherever_it_meets_that(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, met_by: str
) -> None:
    """The system tells of it once: the transport behind a write past it hears of a broken pipe."""
    peers: list[Peer] = []

    @server.on("go")
    def go(client: hisock.ClientInfo) -> None:
        (number,) = descriptors(server)
        peers[0].reset()
        wait_until_reset(number)
        if met_by == "write":
            server.send_client(client, "anything")

    server.start()
    peers.append(make_peer(server))
    with logged("hisock.server", logging.INFO) as told:
        peers[0].send("go")
        told.wait_for_text(f" ended (reset): {RESET}")


@pytest.mark.parametrize("met_by", ["read", "write"])
@on_loops
async def test_a_client_says_that_it_was_reset_wherever_it_meets_that(met_by: str) -> None:
    by_hand = HandServer()
    with contextlib.closing(by_hand.listener):
        client, peer = await by_hand.serve(hisock.async_connect(by_hand.addr))
        number = client._driver.session._flusher.descriptor
        peer.reset()
        wait_until_reset(number)
        if met_by == "write":
            client.send("anything")
        with pytest.raises(hisock.ConnectionLost) as lost:
            await within(client.recv("nothing"))
    assert str(lost.value) == f"the connection to the server ended: {RESET}"


@pytest.mark.parametrize("side", ["client", "server"])
def test_what_outlives_its_loop_writes_to_no_other_socket(loop: str, side: str) -> None:
    """uvloop closes the sockets of a loop with it, and no protocol hears of that."""
    program = [sys.executable, str(PROGRAMS / "closed_loop.py"), side, loop]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "0", done.stderr


def test_no_descriptor_is_written_to_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A selector's loop gives the number of a socket there, which may be that of an open file."""

    async def plain() -> list[bool]:
        near, far = socket.socketpair()
        with far:
            transport, _ = await asyncio.get_running_loop().create_connection(
                asyncio.Protocol, sock=near
            )
            found = [_plain_descriptor(transport, None) >= 0]
            monkeypatch.setattr("sys.platform", "win32")
            found.append(_plain_descriptor(transport, None) >= 0)
            monkeypatch.undo()
            transport.abort()
        return found

    assert asyncio.run(plain()) == [True, False]
