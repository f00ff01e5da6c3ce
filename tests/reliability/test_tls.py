"""TLS: what is refused, what is told, and that a bad handshake harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support import Events, Peer, command_frame
from support.events import PATIENCE
from support.fixtures import StartServer
from support.logs import logged
from support.polling import eventually, until
from support.wire import Closed, listening

import hisock
from hisock._runtime.draining import in_transport
from hisock._runtime.loops import new_loop
from hisock.utils import ServerNotRunning
from reliability.certificates import Authority
from reliability.watching import LOOPBACK, MIB, nothing_left_behind

pytestmark = pytest.mark.usefixtures("nothing_left", "tls_by")


@pytest.fixture
def start_tls_server(start_server: StartServer, authority: Authority) -> StartServer:
    def start(wire: Any = lambda server: None, **options: Any) -> hisock.ThreadedHiSockServer:
        options.setdefault("ssl", (authority.server, authority.server))
        return start_server(wire, **options)

    return start


def tls_peer(server: hisock.HiSockServer, authority: Authority, **options: Any) -> Peer:
    context = authority.context()
    for name, value in options.items():
        setattr(context, name, value)
    raw = socket.create_connection(server.addr, timeout=PATIENCE)
    return Peer(("", 0), sock=context.wrap_socket(raw, server_hostname="localhost"))


def is_served(server: hisock.HiSockServer, authority: Authority) -> bool:
    with tls_peer(server, authority) as peer:
        peer.hello("served")
        return peer.ask("ping", "1", answer="pong").message == b"1"


def refuses(connect: Callable[[], Any]) -> str:
    """The text of the error that a client's constructor raises; it leaves nothing behind."""
    with nothing_left_behind(), pytest.raises((OSError, ServerNotRunning)) as raised:
        connect().close()
    return str(raised.value)


@pytest.mark.parametrize("how", ["path", "context"])
def test_clients_are_served_over_tls(
    start_tls_server: StartServer, authority: Authority, how: str
) -> None:
    server = start_tls_server()
    option = authority.ca if how == "path" else authority.context()
    with hisock.ThreadedHiSockClient(("localhost", server.addr[1]), "ann", ssl=option) as client:
        client.start()
        for size in (0, 1, 16_384, 3 * MIB):
            content = hashlib.shake_128(str(size).encode()).digest(size)
            client.send("ping", content)
            assert client.recv("pong", timeout=PATIENCE) == content
    eventually(lambda: not len(server), "it leaves")
    assert server.stats().ended == {"left": 1}


def test_both_ways_at_once_over_tls(
    start_tls_server: StartServer, authority: Authority, events: Events
) -> None:
    """Several threads send while another reads; every message arrives once, and whole."""
    count = 300

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("number")
        def number(client: hisock.ClientInfo, message: bytes) -> None:
            server.send_client(client, "number", message)

    server = start_tls_server(wire)
    with hisock.ThreadedHiSockClient(server.addr, ssl=authority.ca) as client:
        client.on("number")(lambda message: events.add(bytes(message[:8])))
        client.start()

        def send(thread: int) -> None:
            for number in range(count):
                client.send("number", b"%03d %04d" % (thread, number) + b"x" * 5000)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
        events.wait_until(lambda seen: len(seen) == 4 * count, 2 * PATIENCE)
    for sender in range(4):
        mine = [message for (message,) in events.seen if message.startswith(b"%03d " % sender)]
        assert mine == [b"%03d %04d" % (sender, number) for number in range(count)]


def test_a_wrong_host_name_is_refused(start_server: StartServer, authority: Authority) -> None:
    server = start_server(ssl=(authority.other_host, authority.other_host))
    text = refuses(lambda: hisock.connect(("localhost", server.addr[1]), ssl=authority.ca))
    assert "localhost" in text
    eventually(lambda: server.stats().ended == {"tls": 1}, "the server counts it")


def test_an_expired_certificate_is_refused(start_server: StartServer, authority: Authority) -> None:
    server = start_server(ssl=(authority.expired, authority.expired))
    text = refuses(lambda: hisock.connect(server.addr, ssl=authority.ca))
    assert "expired" in text


def test_an_authority_that_nobody_trusts_is_refused(start_tls_server: StartServer) -> None:
    server = start_tls_server()
    text = refuses(lambda: hisock.connect(server.addr, ssl=True))
    assert "certificate verify failed" in text


def test_old_versions_of_tls_are_refused(
    start_tls_server: StartServer, authority: Authority
) -> None:
    server = start_tls_server()
    context = authority.context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        contextlib.closing(socket.create_connection(server.addr, timeout=PATIENCE)) as raw,
        pytest.raises(OSError),  # noqa: PT011 - ssl's, whose text depends on its version
    ):
        context.wrap_socket(raw, server_hostname="localhost")
    assert is_served(server, authority)


@pytest.mark.parametrize(
    "sent",
    [
        b"43              " + b"$CLTHELLO$" + b"{}",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + b"\0" * 100,
        b"\x16\x03\x01\x00\x05hello",
    ],
    ids=["a plain hello", "HTTP", "a record too large", "no client hello"],
)
def test_what_is_no_tls_ends_that_connection(
    start_tls_server: StartServer, authority: Authority, sent: bytes, unexpected: Any
) -> None:
    server = start_tls_server(hello_timeout=2.0)
    with logged("hisock.server") as log:
        with Peer(server.addr) as plain:
            plain.write(sent)
            with contextlib.suppress(ConnectionError):
                while plain.sock.recv(65536):
                    pass
        eventually(lambda: server.stats().ended == {"tls": 1}, "it is counted")
        assert is_served(server, authority)
    assert len(log.messages) == 1


def test_hanging_up_in_a_handshake_is_said(start_tls_server: StartServer, unexpected: Any) -> None:
    server = start_tls_server()
    with logged("hisock.server") as log:
        Peer(server.addr).close()
        eventually(lambda: server.stats().ended == {"tls": 1}, "it is counted")
    assert log.messages[0].endswith("the TLS handshake failed: the client hung up")


def test_our_client_without_tls_at_a_tls_port_is_told(start_tls_server: StartServer) -> None:
    server = start_tls_server()
    with pytest.raises(ServerNotRunning), hisock.connect(server.addr) as client:
        client.recv(timeout=PATIENCE)


def test_our_client_with_tls_at_a_plain_port_is_told(
    start_server: StartServer, authority: Authority
) -> None:
    server = start_server()
    connect = partial(hisock.connect, server.addr, ssl=authority.ca)
    connect_async = partial(hisock.async_connect, server.addr, ssl=authority.ca)
    said = f"the server at 127.0.0.1:{server.addr[1]} may not speak TLS: "
    assert said in refuses(connect)
    with pytest.raises(ConnectionError, match=re.escape(said)):
        asyncio.run(asyncio.wait_for(connect_async(), PATIENCE))
    eventually(lambda: server.stats().ended.get("framing") == 2, "the server counts it")
    with Peer.joined(server.addr) as peer:
        assert peer.ask("ping", "1", answer="pong")


@pytest.mark.parametrize("start", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_never_ends_is_ended(
    start_tls_server: StartServer, authority: Authority, start: bytes, unexpected: Any
) -> None:
    server = start_tls_server(hello_timeout=0.5)
    with Peer(server.addr) as silent:
        silent.write(start)
        assert is_served(server, authority)
        with contextlib.suppress(ConnectionError):
            assert silent.sock.recv(65536) == b""
    eventually(lambda: server.stats().ended.get("tls") == 1, "it is counted")
    eventually(lambda: server.stats().connections == 0, "nothing of it is left")


def test_a_server_whose_handshake_never_ends_is_given_up(authority: Authority) -> None:
    with listening() as listener, pytest.raises(ServerNotRunning):
        hisock.connect(listener.getsockname(), ssl=authority.ca, timeout=0.5)


def test_a_server_is_closed_while_hands_are_shaken(
    start_tls_server: StartServer, unexpected: Any
) -> None:
    server = start_tls_server(hello_timeout=60)
    with contextlib.ExitStack() as stack:
        for start in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"):
            stack.enter_context(Peer(server.addr)).write(start)
        server.close()
        with pytest.raises(ConnectionError):
            socket.create_connection(server.addr, timeout=PATIENCE)


def test_a_hello_that_never_comes_over_tls_is_given_up(
    start_tls_server: StartServer, authority: Authority
) -> None:
    server = start_tls_server(hello_timeout=0.5)
    with tls_peer(server, authority) as silent:
        silent.rest()
    assert server.stats().ended == {"hello": 1}


def test_a_cut_over_tls_is_an_end_like_any_other(
    start_tls_server: StartServer, authority: Authority, unexpected: Any
) -> None:
    """Without TLS's own goodbye, and in the middle of a frame."""
    server = start_tls_server()
    with tls_peer(server, authority) as cut:
        cut.hello("cut")
        cut.ask("ping", "1", answer="pong")
        cut.write(command_frame("ping", "never complete")[:25])
    eventually(lambda: server.stats().connections == 0, "it is gone")
    assert is_served(server, authority)


def test_a_slow_reader_over_tls_is_bounded_too(
    start_tls_server: StartServer, authority: Authority
) -> None:
    server = start_tls_server(send_buffer=MIB, announce="none")
    with tls_peer(server, authority) as slow:
        slow.hello("slow")
        slow.ask("ping", "1", answer="pong")
        with contextlib.suppress(hisock.utils.ClientNotFound):
            for _ in range(30_000):
                server.send_client("slow", "fill", b"x" * 1024)
        eventually(lambda: not len(server), "it is disconnected")
        with contextlib.suppress(Closed, AssertionError, OSError):
            slow.rest()
    assert server.stats().ended == {"slow": 1}
    assert is_served(server, authority)


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_kick_over_tls_loses_nothing_that_was_sent_before(
    start_tls_server: StartServer, authority: Authority, size: int
) -> None:
    """The client sends meanwhile, which asyncio takes for an error once it has said the end."""
    count = 300

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("kick me")
        def kick_me(client: hisock.ClientInfo) -> None:
            for number in range(count):
                server.send_client(client, "number", b"%05d" % number + bytes(size))
            server.disconnect_client(client)

    server = start_tls_server(wire)
    with tls_peer(server, authority) as peer:
        peer.hello("Ada")
        peer.write(command_frame("kick me", ""))
        peer.wait_for("number")
        with contextlib.suppress(OSError):  # the server may be done before all this is sent
            for _ in range(50):
                peer.write(command_frame("noise", "x" * 1000))
        got = list(peer.rest())
    numbers = [int((frame.message or b"")[:5]) for frame in got if frame.command == "number"]
    assert numbers == list(range(1, count))
    assert got[-1].reserved == "DISCONN"


@pytest.mark.parametrize("sending", [False, True])
def test_a_client_closes_while_its_server_takes_nothing_over_tls(
    authority: Authority, sending: bool
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)
    with listening() as listener, contextlib.ExitStack() as stack:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def accept() -> None:
            stack.enter_context(context.wrap_socket(listener.accept()[0], server_side=True))

        accepting = threading.Thread(target=accept)
        accepting.start()
        client = hisock.connect(listener.getsockname(), ssl=authority.ca)
        accepting.join(PATIENCE)

        def send() -> None:
            with contextlib.suppress(hisock.ClientDisconnected):
                while True:
                    client.send("big", bytes(MIB))

        fill(client)
        threads = [threading.Thread(target=act, daemon=True) for act in (client.close,)]
        if sending:
            threads.insert(0, threading.Thread(target=send, daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def fill(client: hisock.HiSockClient) -> None:
    """Send until the system takes no more."""
    client.sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            client._driver.session.link.socket.sendall(bytes(1000))
    client.sock.setblocking(True)


def test_many_messages_go_with_one_call(
    start_tls_server: StartServer, authority: Authority
) -> None:
    def wire(server: hisock.HiSockServer) -> None:
        server.on("size")(lambda client, text: server.send_client(client, "size", len(text)))

    server = start_tls_server(wire)
    with hisock.connect(server.addr, ssl=str(authority.ca)) as client:
        client.send_many([*[("size", "x" * 5000)] * 10, ("size", "y" * MIB)])
        sizes = [client.recv("size", int, timeout=PATIENCE) for _ in range(11)]
    assert sizes == [5000] * 10 + [MIB]


def test_drain_over_tls_waits_for_a_server_that_reads_nothing(
    authority: Authority, loop: Any
) -> None:
    count = 32
    taken: list[int] = []
    left: list[int] = []

    async def main() -> None:
        server = hisock.HiSockServer(LOOPBACK, ssl=(authority.server, authority.server))
        go_on = asyncio.Event()

        @server.on("data")
        async def take(client: hisock.ClientInfo, data: bytes) -> None:
            await go_on.wait()  # once some MiB wait for it, nothing is read any more
            taken.append(len(data))

        @server.on("all of it")
        def all_of_it(client: hisock.ClientInfo) -> int:
            return len(taken)

        async with (
            server,
            hisock.async_connect(("localhost", server.addr[1]), ssl=str(authority.ca)) as client,
        ):
            session = client._driver.session

            async def send() -> None:
                for _ in range(count):
                    client.send("data", bytes(MIB))
                    await client.drain()
                    left.append(in_transport(session.transport))

            sending = asyncio.ensure_future(send())
            await until(lambda: len(left) and not session.writable._set)
            assert in_transport(session.transport) < 2 * MIB
            assert not sending.done()
            go_on.set()
            await asyncio.wait_for(sending, PATIENCE)
            assert await client.call("all of it", type=int, timeout=PATIENCE) == count

    made = new_loop(loop)
    try:
        made.run_until_complete(main())
    finally:
        made.close()
    assert taken == [MIB] * count
    assert max(left) <= MIB // 2
