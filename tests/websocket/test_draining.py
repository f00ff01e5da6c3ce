"""While a server closes, load balancers are told so, and nobody new is let in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from reliability.certificates import Authority
from support import Events, Peer
from support.events import PATIENCE
from support.polling import eventually
from support.wire import Closed

import hisock

from .conftest import MakeWebServer
from .web_peer import Answer, WebPeer, request

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def ask(addr: tuple[str, int], data: bytes, tls: ssl.SSLContext | None = None) -> Answer | None:
    """The answer to a request; ``None`` where there is none.

    A server that begins to close ends the connections that have not joined, wherever they are: a
    TLS handshake that is under way then ends without a goodbye.
    """
    got = b""
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError), contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection(addr, PATIENCE))
        if tls is not None:
            sock = stack.enter_context(tls.wrap_socket(sock, server_hostname="localhost"))
        sock.sendall(data)
        while received := sock.recv(65536):
            got += received
    return Answer(got) if got else None


def status(addr: tuple[str, int], data: bytes, tls: ssl.SSLContext | None = None) -> int | None:
    answer = ask(addr, data, tls)
    return None if answer is None else answer.status


@contextlib.contextmanager
def draining(
    server: hisock.ThreadedHiSockServer, events: Events, tls: ssl.SSLContext | None = None
) -> Iterator[None]:
    """The block runs while the server closes, and a handler runs that its end waits for."""
    release = threading.Event()

    @server.on("work")
    async def work(client: hisock.ClientInfo) -> None:
        events.add("working")
        await asyncio.get_running_loop().run_in_executor(None, release.wait, PATIENCE)
        events.add("worked")

    server.start()
    with hisock.connect(("localhost" if tls else "127.0.0.1", server.addr[1]), ssl=tls) as client:
        client.send("work")
        assert events.wait_for("working")
        thread = threading.Thread(target=lambda: server.close(timeout=PATIENCE))
        thread.start()
        try:
            eventually(lambda: status(server.addr, HEALTH, tls) == 503)
            # Until then that may have been the answer of a connection that could still join, and
            # the next one like it be ended unanswered.
            eventually(lambda: server._hub.shutdown.begun)
            yield
        finally:
            release.set()
            thread.join(PATIENCE)
        assert not thread.is_alive()
        assert events.wait_for("worked")


def is_free(addr: tuple[str, int]) -> bool:
    try:
        socket.create_connection(addr, PATIENCE).close()
    except ConnectionError:  # refused, or reset while it was being closed
        return True
    return False


def test_health_is_503_while_the_server_drains_and_nobody_comes_in(
    make_web_server: MakeWebServer, events: Events
) -> None:
    server = make_web_server()
    server.on("join")(lambda client: events.add("join", client.name))
    with draining(server, events):
        answer = ask(server.addr, HEALTH)
        assert answer is not None
        assert (answer.status, answer.body) == (503, b"closing\n")
        assert status(server.addr, request()) == 503  # a WebSocket
        assert status(server.addr, b"POST / HTTP/1.1\r\n\r\n") is None
        with Peer(server.addr) as late:
            late.hello("late")
            assert late.rest() == []
    assert is_free(server.addr)
    assert events.wait_for("join") == ("join", None)
    assert ("join", "late") not in events.seen


def test_it_is_503_over_tls_too(
    make_web_server: MakeWebServer, events: Events, tmp_path: Path
) -> None:
    authority = Authority.make(tmp_path)
    server = make_web_server(ssl=(authority.server, authority.server))
    with draining(server, events, authority.context()):
        assert status(server.addr, HEALTH, authority.context()) == 503
    assert is_free(server.addr)


def test_who_asks_nothing_does_not_hold_up_the_end_and_is_not_kept_long(
    make_web_server: MakeWebServer, events: Events
) -> None:
    server = make_web_server()
    with contextlib.ExitStack() as stack:
        with draining(server, events):
            idle = [stack.enter_context(WebPeer(server.addr)) for _ in range(70)]
            with pytest.raises(Closed):  # those who are too many
                idle[-1].answer()
            with pytest.raises(Closed):  # after two seconds
                idle[0].answer()
            eventually(lambda: status(server.addr, HEALTH) == 503)
            stack.enter_context(WebPeer(server.addr)).say(b"GET /hea")
        assert is_free(server.addr)


def test_without_health_the_address_is_free_at_once(
    make_web_server: MakeWebServer, events: Events
) -> None:
    server = make_web_server(web={"health": None})
    release = threading.Event()

    @server.on("work")
    async def work(client: hisock.ClientInfo) -> None:
        events.add("working")
        await asyncio.get_running_loop().run_in_executor(None, release.wait, PATIENCE)

    server.start()
    with WebPeer.in_web(server.addr) as peer:
        peer.send("work", b"")
        assert events.wait_for("working")
        thread = threading.Thread(target=lambda: server.close(timeout=PATIENCE))
        thread.start()
        eventually(lambda: is_free(server.addr))
        release.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
