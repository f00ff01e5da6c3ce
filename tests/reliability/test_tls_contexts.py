"""What contexts of one's own ask for: certificates of clients, and a protocol by ALPN."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from features.clients import AnyClient, Kind
from support import Peer
from support.events import PATIENCE
from support.fixtures import StartServer
from support.logs import logged
from support.polling import eventually

import hisock
from hisock._runtime.loops import new_loop
from reliability.certificates import Authority

pytestmark = pytest.mark.usefixtures("nothing_left", "tls_by")

KINDS = pytest.mark.parametrize("kind", ["plain", "threaded", "async"])
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@pytest.fixture
def asking(start_server: StartServer, authority: Authority) -> Callable[..., Any]:
    """Starts servers that ask their clients for a certificate of the same authority."""

    def start(version: ssl.TLSVersion) -> hisock.ThreadedHiSockServer:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.server)
        context.load_verify_locations(authority.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = version
        return start_server(echoes, ssl=context)

    return start


def echoes(server: hisock.ThreadedHiSockServer) -> None:
    server.on("echo")(lambda client, message: message)


def with_certificate(authority: Authority, own: Path) -> ssl.SSLContext:
    context = authority.context()
    context.load_cert_chain(own)
    return context


@KINDS
@VERSIONS
def test_a_client_with_its_certificate_is_served(
    asking: Callable[..., Any], authority: Authority, kind: Kind, version: ssl.TLSVersion
) -> None:
    server = asking(version)
    own = with_certificate(authority, authority.player)
    with AnyClient(kind, server.addr, ssl=own) as client:
        client.start()
        assert client.call("echo", "here", str) == "here"


@KINDS
@VERSIONS
@pytest.mark.parametrize(
    ("shown", "reason"),
    [("none", "did not return a certificate"), ("another's", "certificate verify failed")],
)
def test_a_client_without_one_that_is_trusted_is_refused(
    asking: Callable[..., Any],
    authority: Authority,
    tmp_path: Path,
    kind: Kind,
    version: ssl.TLSVersion,
    shown: str,
    reason: str,
) -> None:
    """In TLS 1.3 its own handshake has ended by then, so that it is told of it as of a loss."""
    server = asking(version)
    own = authority.context()
    if shown == "another's":
        own = with_certificate(authority, Authority.make(tmp_path).player)

    def ask() -> None:
        with AnyClient(kind, server.addr, ssl=own) as client:
            client.start()
            client.call("echo", "here", str)

    with logged("hisock.server") as log:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            ask()
        eventually(lambda: server.stats().ended == {"tls": 1}, "it is counted")
    assert [reason in text for text in log.messages] == [True]


@KINDS
def test_a_certificate_that_was_not_asked_for_is_not_shown(
    start_server: StartServer, authority: Authority, kind: Kind
) -> None:
    server = start_server(echoes, ssl=(authority.server, authority.server))
    own = with_certificate(authority, authority.player)
    with AnyClient(kind, server.addr, ssl=own) as client:
        client.start()
        assert client.call("echo", "here", str) == "here"


@pytest.mark.parametrize(
    ("offered", "known", "agreed"),
    [
        (["h2", "hisock"], ["hisock"], "hisock"),
        (["h2"], ["hisock"], None),
        (["h2", "hisock"], None, None),  # of a certificate and its key
        (None, ["hisock"], None),
    ],
)
def test_a_protocol_is_agreed_on_only_if_both_know_it(
    start_server: StartServer,
    authority: Authority,
    loop: Any,
    offered: list[str] | None,
    known: list[str] | None,
    agreed: str | None,
) -> None:
    """Either way the client is served: the server speaks nothing else there."""
    option: Any = (authority.server, authority.server)
    if known is not None:
        option = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        option.load_cert_chain(authority.server)
        option.set_alpn_protocols(known)
    own = authority.context()
    if offered is not None:
        own.set_alpn_protocols(offered)
    server = start_server(echoes, ssl=option)

    async def main() -> None:
        async with hisock.async_connect(server.addr, ssl=own) as client:
            assert await client.call("echo", "here", str, timeout=PATIENCE) == "here"
            tls = client._driver.session.transport.get_extra_info("ssl_object")
            assert tls.selected_alpn_protocol() == agreed

    made = new_loop(loop)
    try:
        made.run_until_complete(asyncio.wait_for(main(), 3 * PATIENCE))
    finally:
        made.close()


@VERSIONS
def test_a_client_that_comes_back_resumes_its_session_each_time(
    start_server: StartServer, authority: Authority, version: ssl.TLSVersion
) -> None:
    server = start_server(echoes, ssl=(authority.server, authority.server))
    context = authority.context()
    context.maximum_version = version
    session: ssl.SSLSession | None = None
    for again in range(4):
        raw = socket.create_connection(server.addr, timeout=PATIENCE)
        sock = context.wrap_socket(raw, server_hostname="localhost", session=session)
        with Peer(("", 0), sock=sock) as peer:
            peer.hello("Ada")
            assert peer.read().reserved == "CLTCONN"  # the ticket has come before that
            assert sock.session_reused == (again > 0)
            session = sock.session
