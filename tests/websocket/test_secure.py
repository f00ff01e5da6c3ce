"""WebSockets over TLS: nothing that was sent is lost, and no more waits than may."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
from reliability.certificates import Authority
from support import Events, Peer, command_frame
from support.events import PATIENCE
from support.polling import eventually

import hisock

from .conftest import MakeWebServer
from .web_peer import WebPeer

StartSecure = Callable[..., hisock.ThreadedHiSockServer]
KIB = bytes(1024)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start_secure(make_web_server: MakeWebServer, authority: Authority) -> StartSecure:
    def start(**options: object) -> hisock.ThreadedHiSockServer:
        server = make_web_server(ssl=(authority.server, authority.server), **options)
        server.start()
        return server

    return start


@contextlib.contextmanager
def joined(
    server: hisock.ThreadedHiSockServer, authority: Authority, web: bool = True
) -> Iterator[Peer]:
    """A peer that has joined, over TLS; it takes little that it does not read."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(PATIENCE)
        raw.connect(server.addr)
        sock = authority.context().wrap_socket(raw, server_hostname="localhost")
        with (WebPeer if web else Peer)(server.addr, sock=sock) as peer:
            if isinstance(peer, WebPeer):
                assert peer.open().status == 101
            peer.hello("Ada")
            eventually(lambda: len(server) == 1, "it joins")
            yield peer


def test_a_kick_loses_nothing_that_was_sent_before(
    start_secure: StartSecure, authority: Authority
) -> None:
    """The client sends meanwhile, which TLS of asyncio takes for an error after the end."""
    count = 300
    server = start_secure()

    @server.on("kick me")
    def kick_me(client: hisock.ClientInfo) -> None:
        for number in range(count):
            server.send_client(client, "number", b"%05d" % number + bytes(5000))
        server.disconnect_client(client)

    with joined(server, authority) as peer:
        peer.write(command_frame("kick me", ""))
        peer.wait_for("number")
        with contextlib.suppress(OSError):  # the server may be done before all this is sent
            for _ in range(50):
                peer.write(command_frame("noise", "x" * 1000))
        got = list(peer.rest())
        assert isinstance(peer, WebPeer)
        assert peer.code == 1000
    numbers = [int((frame.message or b"")[:5]) for frame in got if frame.command == "number"]
    assert numbers == list(range(1, count))
    assert got[-1].reserved == "DISCONN"


@pytest.mark.parametrize("web", [True, False], ids=["WebSocket", "TCP"])
@pytest.mark.parametrize("latest", [True, False], ids=["newest states", "messages"])
def test_a_small_send_buffer_is_kept(
    start_secure: StartSecure, authority: Authority, events: Events, web: bool, latest: bool
) -> None:
    """A transport of TLS takes half a MiB until it says that it is behind."""
    limit = 200_000
    server = start_secure(send_buffer=limit, on_slow="drop", keepalive=False, announce="none")

    @server.on("fill me")
    def fill_me(client: hisock.ClientInfo) -> None:
        most = 0
        for number in range(10_000):
            key = f"key {number}" if latest else None
            server.send_client(client, "fill", 4 * KIB, latest=key)
            most = max(most, server.backlog(client))
            if number % 100 == 0 and server.stats().dropped:
                break
        events.add("most", most, server.stats().queued_bytes, server.backlog(client))

    with joined(server, authority, web) as peer:
        peer.write(command_frame("fill me", ""))
        _, most, queued, backlog = events.wait_for("most")
    assert server.stats().dropped
    assert limit // 2 < most < limit + 66_000, "a flush adds 64 KiB at most"
    assert queued == backlog


def test_a_client_that_stops_reads_few_stale_states(
    start_secure: StartSecure, authority: Authority
) -> None:
    """As many as are sent in 6 seconds at 20 Hz; each is handed to the system if it may be."""
    server = start_secure(latest_ahead=2)
    heard: list[int] = []
    with joined(server, authority) as peer:
        for number in range(120):
            server.send_all_clients("state", b"%03d" % number + KIB, latest="state")
            for _ in range(3):  # iterations of the loop, in which it is flushed
                server._hub.thread.run(lambda: None)
        while 119 not in heard:
            frame = peer.read()
            if frame.reserved == "KEEPALIVE":
                peer.reserved("KEEPACK")
            elif frame.command == "state":
                heard.append(int((frame.message or b"")[:3]))
    assert len(heard) <= 5
    assert heard == sorted(heard)
