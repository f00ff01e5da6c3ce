"""TLS handshakes count as connections, however they end."""

from __future__ import annotations

import contextlib
import socket
import ssl
from functools import partial
from typing import Any

import pytest
from support import Peer
from support.events import PATIENCE
from support.fixtures import StartServer
from support.logs import logged
from support.polling import eventually

import hisock
from hisock._server.admission import _MAX_PENDING_REJECTIONS
from reliability.certificates import Authority

pytestmark = pytest.mark.usefixtures("nothing_left", "tls_by")
#: Clients that may be connected at once in these tests.
MOST = 3
#: How a TLS record begins; what should follow never comes.
BEGINNINGS = (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01")
#: The hello of a client that can be told why it is not let in.
MODERN = '{"name": "x", "group": null, "features": ["reject"]}'
LIMITS = ["max_connections", "max_connections_per_ip"]


@pytest.fixture
def start_tls_server(start_server: StartServer, authority: Authority) -> StartServer:
    def start(**options: Any) -> hisock.ThreadedHiSockServer:
        return start_server(ssl=(authority.server, authority.server), **options)

    return start


def shaken(server: hisock.HiSockServer, authority: Authority) -> Peer:
    """A client that has shaken hands."""
    raw = socket.create_connection(server.addr, timeout=PATIENCE)
    try:
        sock = authority.context().wrap_socket(raw, server_hostname="localhost")
    except OSError:
        raw.close()
        raise
    return Peer(("", 0), sock=sock)


def joined(server: hisock.HiSockServer, authority: Authority) -> Peer:
    """A client that has shaken hands, said hello, and was answered."""
    peer = shaken(server, authority)
    peer.hello("x")
    peer.ask("ping", "1", answer="pong")
    return peer


def takes_exactly(server: hisock.HiSockServer, authority: Authority) -> None:
    """There is room for :data:`MOST` clients, for no more and no fewer; one more is told so."""
    refused = server.stats().ended.get("full", 0)
    with contextlib.ExitStack() as stack:
        for _ in range(MOST):
            stack.enter_context(joined(server, authority))
        with shaken(server, authority) as one_more:
            one_more.reserved("CLTHELLO", MODERN)
            reject, goodbye = one_more.rest()
            assert (reject.reserved, goodbye.reserved) == ("REJECT", "DISCONN")
            assert f"takes {MOST} connections" in reject.data.decode()
        assert server.stats().ended["full"] == refused + 1
    eventually(lambda: server.stats().connections == 0, "all leave")


def hangs_up(peer: Peer) -> bool:
    """Whether the server closes a connection, rather than wait for more."""
    try:
        return peer.sock.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("limit", LIMITS)
def test_handshakes_that_never_end_take_places_until_they_time_out(
    start_tls_server: StartServer, authority: Authority, limit: str
) -> None:
    server = start_tls_server(**{limit: MOST}, hello_timeout=3.0)
    with logged("hisock.server") as log, contextlib.ExitStack() as stack:
        for start in BEGINNINGS:
            stack.enter_context(Peer(server.addr)).write(start)
        waiting_to_be_told = [
            stack.enter_context(Peer(server.addr)) for _ in range(_MAX_PENDING_REJECTIONS)
        ]
        for _ in range(20):
            with Peer(server.addr) as refused:
                assert hangs_up(refused)
        assert server.stats().ended == {"full": 20}
        assert all("(full)" in text for text in log.messages)
        never = len(BEGINNINGS) + len(waiting_to_be_told)
        eventually(lambda: server.stats().ended.get("tls") == never, "they time out")
        takes_exactly(server, authority)


@pytest.mark.parametrize("limit", LIMITS)
def test_those_inside_are_served_while_the_door_is_full(
    start_tls_server: StartServer, authority: Authority, limit: str
) -> None:
    server = start_tls_server(**{limit: MOST}, hello_timeout=60)
    with joined(server, authority) as inside, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.addr)) for _ in range(200)]
        assert all(hangs_up(peer) for peer in peers[MOST - 1 + _MAX_PENDING_REJECTIONS :])
        assert inside.ask("ping", "2", answer="pong").message == b"2"
        assert server.stats().ended == {"full": 201 - MOST - _MAX_PENDING_REJECTIONS}


def fails(server: hisock.HiSockServer, authority: Authority) -> None:
    with Peer(server.addr) as peer:
        peer.write(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while peer.sock.recv(65536):
                pass


def distrusts(server: hisock.HiSockServer, authority: Authority) -> None:
    """It breaks off the handshake itself, with an alert."""
    with socket.create_connection(server.addr, timeout=PATIENCE) as raw:
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(raw, server_hostname="localhost")


def is_cut(server: hisock.HiSockServer, authority: Authority) -> None:
    with Peer(server.addr) as peer:
        peer.write(BEGINNINGS[-1])


def is_reset(server: hisock.HiSockServer, authority: Authority) -> None:
    peer = Peer(server.addr)
    peer.write(BEGINNINGS[-1])
    peer.reset()


def is_gone_at_once(server: hisock.HiSockServer, authority: Authority) -> None:
    Peer(server.addr).reset()


def times_out(server: hisock.HiSockServer, authority: Authority) -> None:
    with Peer(server.addr) as peer:
        assert hangs_up(peer)


def joins_and_leaves(server: hisock.HiSockServer, authority: Authority) -> None:
    with joined(server, authority) as peer:
        peer.reserved("USRCLOSE")
        peer.rest()


def joins_and_breaks_off(server: hisock.HiSockServer, authority: Authority) -> None:
    joined(server, authority).reset()


def says_no_hello(server: hisock.HiSockServer, authority: Authority) -> None:
    with socket.create_connection(server.addr, timeout=PATIENCE) as raw:
        authority.context().wrap_socket(raw, server_hostname="localhost").close()


def has_ended(server: hisock.HiSockServer, times: int) -> bool:
    return sum(server.stats().ended.values()) == times


ENDS = [
    fails,
    distrusts,
    is_cut,
    is_reset,
    is_gone_at_once,
    times_out,
    joins_and_leaves,
    joins_and_breaks_off,
    says_no_hello,
]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_however_a_handshake_ends_its_place_is_free_again(
    start_tls_server: StartServer, authority: Authority, end: Any, limit: str
) -> None:
    seconds = 0.1 if end is times_out else 60.0
    server = start_tls_server(**{limit: MOST}, hello_timeout=seconds)
    for times in range(1, 2 * MOST + 1):
        end(server, authority)
        eventually(partial(has_ended, server, times), "it ends")
        eventually(lambda: server.stats().connections == 0, "it is gone")
    assert "full" not in server.stats().ended
    if end is not times_out:
        takes_exactly(server, authority)


def test_a_server_that_closes_forgets_whose_hands_it_shakes(
    start_tls_server: StartServer, authority: Authority
) -> None:
    server = start_tls_server(max_connections=MOST, hello_timeout=60)
    with contextlib.ExitStack() as stack:
        for start in BEGINNINGS:
            stack.enter_context(Peer(server.addr)).write(start)
        for _ in range(_MAX_PENDING_REJECTIONS):
            stack.enter_context(Peer(server.addr))
        with Peer(server.addr) as refused:
            assert hangs_up(refused)
        server.close()
    assert server._hub.admission._handshakes == {}
    assert server._hub.admission._handshakes_to_reject == set()


@pytest.mark.parametrize("how", ["kicked", "hello", "framing"])
def test_a_client_that_never_says_that_it_has_closed_holds_nothing(
    start_tls_server: StartServer, authority: Authority, how: str
) -> None:
    """It reads nothing, so it never answers the end of the server's side of TLS."""
    server = start_tls_server(hello_timeout=0.5)
    with contextlib.ExitStack() as stack:
        if how == "hello":
            peers = [stack.enter_context(shaken(server, authority)) for _ in range(5)]
        else:
            peers = [stack.enter_context(joined(server, authority)) for _ in range(5)]
        if how == "framing":
            for peer in peers:
                peer.write(b"no header at all")
        elif how == "kicked":
            server.disconnect_all_clients()
        eventually(lambda: server.stats().connections == 0, "they are given up", timeout=5)
