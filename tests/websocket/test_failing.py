"""What nobody expected to be raised ends one WebSocket, and is logged with its traceback."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.events import PATIENCE
from support.logs import logged

import hisock
from hisock._server.connection import Connection
from hisock._websocket.front import Front

from .conftest import MakeWebServer
from .web_peer import WebPeer, request

Join = Callable[..., WebPeer]


class Unexpected(Exception):
    pass


def test_a_failure_ends_that_one_and_is_logged(
    server: hisock.ThreadedHiSockServer, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Connection.feed

    def failing(self: Connection, data: Any) -> None:
        if b"boom" in bytes(data):
            raise Unexpected("nobody saw it coming")
        feed(self, data)

    monkeypatch.setattr(Connection, "feed", failing)
    good = join("good")
    with logged("hisock.server", logging.ERROR) as log:
        bad = join("bad")
        bad.send("boom")
        assert bad.wait_closed()[0] == 1011
        good.send("echo", "still")
        assert good.wait_for("echo").message == b"still"
    record = log.wait_one()
    assert record.__dict__["event"] == "websocket_failed"
    assert record.__dict__["reason"] == "nobody saw it coming"
    assert record.exc_info is not None
    assert record.exc_info[0] is Unexpected
    assert server.stats().ended == {"failed": 1}


def test_a_flood_of_failures_is_no_flood_of_lines(
    server: hisock.ThreadedHiSockServer, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hisock._core.reporting.RateLimit.allowance", lambda self, now: 0)

    def failing(self: Connection, data: Any) -> None:
        raise Unexpected

    monkeypatch.setattr(Connection, "feed", failing)
    with logged("hisock.server", logging.ERROR) as log:
        for _ in range(3):
            peer = WebPeer(server.addr)
            with peer:
                peer.open()
                peer.hello()
                assert peer.wait_closed()[0] == 1011
    assert log.messages == []


def test_a_failure_at_the_handshake_is_not_told_to_the_client(
    server: hisock.ThreadedHiSockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Front, request: Any) -> None:
        raise Unexpected("a secret")

    monkeypatch.setattr(Front, "judge", failing)
    with logged("hisock.server", logging.ERROR) as log:
        with WebPeer(server.addr) as peer:
            peer.say(request())
            told = b"".join(iter(lambda: peer.sock.recv(4096), b""))
        assert b"101" not in told
        assert b"secret" not in told
        assert log.wait_one().__dict__["event"] == "websocket_failed"
    assert server.stats().ended == {"failed": 1}


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets here")
def test_an_engine_that_cannot_take_a_connection_over_ends_that_one(
    make_web_server: MakeWebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """picows sets options of TCP, and would crash the process when the connection is lost."""
    engine = pytest.importorskip("hisock._websocket.picows_engine")
    monkeypatch.setattr("hisock._websocket.front._find", lambda name: engine)
    server = make_web_server([("127.0.0.1", 0), str(tmp_path / "socket")])
    server.start()
    with logged("hisock.server", logging.ERROR) as log:
        with socket.socket(socket.AF_UNIX) as bad:
            bad.settimeout(PATIENCE)
            bad.connect(str(tmp_path / "socket"))
            bad.sendall(request())
            assert b"101" not in b"".join(iter(lambda: bad.recv(4096), b""))
        assert log.wait_one().__dict__["event"] == "websocket_failed"
    with WebPeer.in_web(server.addr) as good:
        good.send("echo", "still")
        assert good.wait_for("echo").message == b"still"
