"""``close()`` of a client returns, whatever a server or another thread does meanwhile."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.events import PATIENCE

import hisock

from .clients import AnyClient, Kind, Watched
from .wire import HandServer


@contextlib.contextmanager
def returns(act: Callable[[], Any]) -> Iterator[None]:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive()


def takes_no_more(sock: socket.socket) -> bool:
    """Whether the system would take nothing more that is sent."""
    return not select.select([], [sock], [], 0)[1]


@pytest.mark.parametrize("kind", ["plain", "threaded"])
def test_close_returns_while_a_thread_sends_to_a_server_that_reads_nothing(
    by_hand: HandServer, kind: Kind
) -> None:
    client = AnyClient(kind, by_hand.addr)
    client.start()
    raised: list[Exception] = []

    def send() -> None:
        try:
            while True:
                client.send("big", bytes(1 << 20))
        except Exception as exc:
            raised.append(exc)

    with by_hand.accept(), returns(send):
        client.pump(lambda: takes_no_more(client.client.sock))
        with returns(client.close):
            pass
    assert [type(exc) for exc in raised] == [hisock.ClientDisconnected]


def test_close_returns_in_a_batch_for_a_server_that_reads_nothing(by_hand: HandServer) -> None:
    client = hisock.connect(by_hand.addr)

    def close() -> None:
        with client.batch():
            client.send("small", b"x")
            client.close()

    def send() -> None:
        with contextlib.suppress(hisock.ClientDisconnected, hisock.ConnectionLost):
            while True:
                client.send("big", bytes(1 << 20))

    with by_hand.accept(), returns(send):
        while not takes_no_more(client.sock):
            client.update()
        with returns(close):
            pass
    assert client.closed


def test_close_ends_a_connection_that_is_sent_the_offline_buffer(
    by_hand: HandServer, kind: Kind
) -> None:
    watched = Watched(kind, by_hand.addr, "Ada", offline_buffer=64_000_000)
    by_hand.accept().close()
    watched.until("disconnect")
    for _ in range(20):
        watched.any.send("big", bytes(1 << 20))
    with by_hand.accept() as peer:
        with returns(watched.any.close):
            pass
        with contextlib.suppress(OSError):
            while peer.sock.recv(1 << 20):
                pass
    assert not watched.any.client.connected


def test_a_client_that_is_closed_while_it_reconnects_says_nothing_more(
    by_hand: HandServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had connected and said hello after that: the server let somebody in who had left."""
    watched = Watched("threaded", by_hand.addr, "Ada")
    connector = watched.any.client._driver.connector
    connect, connected, go_on = connector.open, threading.Event(), threading.Event()

    def connect_slowly(timeout: float | None) -> Any:
        connection = connect(timeout)
        connected.set()
        assert go_on.wait(PATIENCE)
        return connection

    monkeypatch.setattr(connector, "open", connect_slowly)
    by_hand.accept().close()
    assert connected.wait(PATIENCE)
    with by_hand.take() as peer:
        watched.any.close()
        go_on.set()
        assert peer.rest() == []


def test_start_of_a_client_that_is_closed_returns(by_hand: HandServer) -> None:
    client = hisock.connect(by_hand.addr)
    client.close()
    client.start()


def test_start_raises_the_loss_that_something_else_has_found_once(by_hand: HandServer) -> None:
    with hisock.connect(by_hand.addr) as client:
        by_hand.accept().close()
        with pytest.raises(hisock.ConnectionLost):
            client.recv(timeout=PATIENCE)
        assert client.closed
        with pytest.raises(hisock.ConnectionLost):
            client.start()
        assert client.update() == 0


class Interrupted:
    """A socket that Ctrl-C interrupts when it has sent half of something."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes, flags: int = 0) -> int:
        self._sock.sendall(data[: len(data) // 2])
        raise KeyboardInterrupt

    sendall = send


@pytest.mark.parametrize("together", [False, True])
def test_nothing_follows_half_of_a_frame_that_was_interrupted(
    by_hand: HandServer, together: bool
) -> None:
    client = hisock.connect(by_hand.addr)
    with by_hand.accept() as peer:
        client.send("before")
        link: Any = client._driver.session.link
        link.socket = Interrupted(link.socket)
        frames = [("cut", b"A" * 1000)]
        with pytest.raises(KeyboardInterrupt):
            client.send_many(frames) if together else client.send(*frames[0])
        link.socket = link.socket._sock
        with pytest.raises(hisock.ConnectionLost):
            client.send("next", b"B" * 1000)
        received = peer.sock.recv(1 << 16, socket.MSG_WAITALL)
        assert b"before" in received
        assert b"A" * 100 in received
        assert b"B" not in received
        with pytest.raises(hisock.ConnectionLost, match="given up, as sending was interrupted"):
            client.recv("never")
    client.close()


def test_a_client_that_comes_back_hears_that_sending_was_interrupted(by_hand: HandServer) -> None:
    reasons: list[str] = []
    client = hisock.connect(by_hand.addr, reconnect=True)
    client.on("disconnect")(reasons.append)
    with by_hand.accept():
        client.send("before")
        link: Any = client._driver.session.link
        link.socket = Interrupted(link.socket)
        with pytest.raises(KeyboardInterrupt):
            client.send("cut", b"A" * 1000)
        link.socket = link.socket._sock
        with pytest.raises(hisock.ConnectionLost):
            client.send("next")
        client.update()
    client.close()
    assert reasons == ["the connection was given up, as sending was interrupted"]
