"""After ``os.fork`` the connections are the parent's alone, whatever the child does."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from features.clients import AnyClient, Kind

import hisock

from .certificates import Authority

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")


def in_child(act: Callable[[], Any]) -> str:
    """What becomes of something done in a forked child: ``"ok"``, or the error."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            act()
            os.write(write, b"ok")
        except BaseException as exc:
            os.write(write, repr(exc).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as result:
        text = result.read()
    os.waitpid(pid, 0)
    return text


@pytest.fixture
def server() -> Any:
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0))
    server.on("double")(lambda client, number: 2 * int(number))
    server.start()
    yield server
    server.close()


@pytest.mark.parametrize("kind", ["plain", "threaded", "async"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_what_a_child_does_with_a_client_does_not_reach_the_parents(
    server: hisock.ThreadedHiSockServer, kind: Kind
) -> None:
    with AnyClient(kind, server.addr, "Ada") as ada:
        ada.start()
        assert ada.call("double", 21, int) == 42

        def act() -> None:
            client = ada.client
            assert client.closed
            assert not client.connected
            with pytest.raises(hisock.ClientDisconnected, match="forked"):
                client.send("double", 1)
            if kind == "async":
                asyncio.run(client.close())
            else:
                client.close()

        assert in_child(act) == "ok"
        assert ada.call("double", 4, int) == 8
        assert [info.name for info in server.get_all_clients()] == ["Ada"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_closes_a_client_over_tls_that_threads_were_using(authority: Authority) -> None:
    files = (authority.server, authority.server)
    with hisock.ThreadedHiSockServer(("127.0.0.1", 0), ssl=files) as server:
        server.on("double")(lambda client, number: 2 * int(number))
        server.start()
        with hisock.threaded_connect(server.addr, ssl=authority.ca) as ada:
            ada.start()
            over = threading.Event()

            def call() -> None:
                while not over.is_set():
                    assert ada.call("double", 21, int) == 42

            def act() -> None:
                signal.alarm(10)  # which ends a child that hangs
                ada.close()

            threads = [threading.Thread(target=call) for _ in range(2)]
            for thread in threads:
                thread.start()
            try:
                assert [in_child(act) for _ in range(8)] == ["ok"] * 8
            finally:
                over.set()
                for thread in threads:
                    thread.join()
            assert ada.call("double", 4, int) == 8


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("unix", [False, True])
def test_a_child_that_closes_the_server_closes_only_its_own(unix: bool, tmp_path: Any) -> None:
    addr = str(tmp_path / "socket") if unix else ("127.0.0.1", 0)
    with (
        hisock.ThreadedHiSockServer(addr) as server,
        hisock.threaded_connect(server.addr, "Ada") as ada,
    ):
        server.on("double")(lambda client, number: 2 * int(number))
        server.start()
        ada.start()
        assert ada.call("double", 21, int) == 42

        def act() -> None:
            assert server.closed
            server.close()

        assert in_child(act) == "ok"
        assert ada.call("double", 4, int) == 8
        with hisock.connect(server.addr) as bob:
            assert bob.call("double", 5, int) == 10


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_clients_that_could_not_connect_do_not_keep_others_the_childs(
    server: hisock.ThreadedHiSockServer,
) -> None:
    failures: list[Exception] = []  # with their tracebacks, which keep the clients
    with socket.create_server(("127.0.0.1", 0)) as closed:
        addr = closed.getsockname()
    for _ in range(10):
        try:
            hisock.connect(addr)
        except hisock.ServerNotRunning as exc:
            failures.append(exc)
    with hisock.connect(server.addr) as ada:
        assert in_child(lambda: os._exit(0) if not (server.closed and ada.closed) else None) == "ok"
    assert len(failures) == 10


def test_the_descriptors_of_a_child_hold_no_connection_open(
    server: hisock.ThreadedHiSockServer,
) -> None:
    """A child that lives on must not keep the server from seeing its parent's end."""
    left, right = os.pipe()
    client = hisock.connect(server.addr, "Ada")
    assert client.call("double", 1, int) == 2
    pid = os.fork()
    if not pid:
        os.close(right)
        os.read(left, 1)  # until the parent has ended its half
        os._exit(0)
    try:
        os.close(left)
        client.close(emit_leave=False)
        for _ in range(500):
            if not len(server):
                break
            server.join(0.01)
        assert len(server) == 0
    finally:
        os.close(right)
        os.waitpid(pid, 0)
