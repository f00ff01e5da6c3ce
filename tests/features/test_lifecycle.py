"""Starting, closing, signals, keepalive, ``update``."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from support import Events, Peer
from support.events import PATIENCE
from support.fixtures import MakeClient, MakePeer, MakeServer
from support.wire import listening

import hisock
from hisock.utils import ClientDisconnected, ServerNotRunning

LOOPBACK = ("127.0.0.1", 0)
PROGRAMS = Path(__file__).parent / "programs"


# Addresses


def test_port_0_takes_a_free_port_and_addr_tells_it() -> None:
    with hisock.HiSockServer(LOOPBACK) as first, hisock.HiSockServer(LOOPBACK) as second:
        assert first.addr[0] == "127.0.0.1"
        assert first.addr[1] > 0
        assert first.addr != second.addr
        assert first.get_addr() == first.addr


def test_an_address_in_use_raises_in_the_constructor(make_server: MakeServer) -> None:
    server = make_server()
    with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
        hisock.HiSockServer(server.addr)
    server.start()
    with pytest.raises(OSError):  # noqa: PT011
        hisock.ThreadedHiSockServer(server.addr)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_host_is_no_path(host: str) -> None:
    """HiSockServer("127.0.0.1", 5000) made a Unix socket in the current folder."""
    with pytest.raises(TypeError, match=f"did you mean .'{host}', port"):
        hisock.HiSockServer(host, 5000)


def test_nobody_listening_is_server_not_running() -> None:
    with listening() as listener:
        addr = listener.getsockname()
    for connect in (hisock.connect, hisock.threaded_connect, hisock.HiSockClient):
        with pytest.raises(ServerNotRunning):
            connect(addr)


def test_a_server_accepts_from_its_constructor_on() -> None:
    """Clients connect and send before ``start``; nothing of it is lost."""
    events = Events()
    server = hisock.ThreadedHiSockServer(LOOPBACK)
    server.on("early")(lambda client, message: events.add(client.name, message))
    with server, hisock.connect(server.addr, name="ann") as client:
        client.send("early", "bird")
        server.start()
        events.wait_for("ann", b"bird")


def test_the_port_is_free_again_at_once(make_peer: MakePeer) -> None:
    server = hisock.ThreadedHiSockServer(LOOPBACK)
    server.start()
    make_peer(server)
    for _ in range(3):
        addr = server.addr
        server.close()
        server = hisock.ThreadedHiSockServer(addr)
        server.start()
        with Peer.joined(addr):
            pass
    server.close()


# Closing


def test_the_factories_make_what_they_say(make_server: MakeServer) -> None:
    with (
        hisock.start_server(LOOPBACK) as server,
        hisock.start_threaded_server(LOOPBACK) as threaded,
    ):
        threaded.start()
        with (
            hisock.connect(threaded.addr, "ann", "red") as client,
            hisock.threaded_connect(threaded.addr) as other,
        ):
            assert type(server) is hisock.HiSockServer
            assert type(threaded) is hisock.ThreadedHiSockServer
            assert type(client) is hisock.HiSockClient
            assert type(other) is hisock.ThreadedHiSockClient
            assert (client.name, client.group) == ("ann", "red")


def test_close_says_goodbye_to_everybody_and_ends_start(make_client: MakeClient) -> None:
    server = hisock.HiSockServer(LOOPBACK)
    thread = threading.Thread(target=server.start, daemon=True)
    thread.start()
    events = Events()
    client = make_client(server.addr)
    client.on("force_disconnect")(lambda: events.add("forced"))
    client.start()
    with Peer.joined(server.addr) as peer:
        server.close()
        assert peer.rest()[-1].reserved == "DISCONN"
    thread.join(PATIENCE)
    assert not thread.is_alive()
    events.wait_for("forced")


def test_closing_twice_does_nothing(make_server: MakeServer, make_client: MakeClient) -> None:
    server = make_server()
    server.start()
    client = make_client(server)
    client.start()
    client.close()
    client.close()
    server.close()
    server.close()
    with hisock.HiSockServer(LOOPBACK) as never_started:
        pass
    never_started.close()
    never_started.start()  # returns at once


def test_close_flushes_what_was_sent(make_server: MakeServer, make_peer: MakePeer) -> None:
    server = make_server(send_buffer=64 * 1024 * 1024)
    server.start()
    peer = make_peer(server)
    content = bytes(range(256)) * 4096
    for _ in range(8):
        server.send_all_clients("large", content)
    closing = threading.Thread(target=server.close, daemon=True)
    closing.start()
    got = peer.rest()
    closing.join(PATIENCE)
    assert [frame.message == content for frame in got[:-1]] == [True] * 8
    assert got[-1].reserved == "DISCONN"


@pytest.mark.parametrize("threaded", [False, True])
def test_a_server_is_closed_by_its_handler(make_peer: MakePeer, threaded: bool) -> None:
    server = hisock.HiSockServer(LOOPBACK)
    server.on("stop", threaded=threaded)(server.close)
    thread = threading.Thread(target=server.start, daemon=True)
    thread.start()
    with Peer.joined(server.addr) as peer:
        peer.send("stop")
        assert peer.rest()[-1].reserved == "DISCONN"
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("threaded", [False, True])
def test_a_threaded_server_is_closed_by_its_handler(
    make_server: MakeServer, threaded: bool
) -> None:
    server = make_server()
    server.on("stop", threaded=threaded)(server.close)
    server.start()
    with Peer.joined(server.addr) as peer:
        peer.send("stop")
        assert peer.rest()[-1].reserved == "DISCONN"
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.addr)


@pytest.mark.parametrize("threaded", [False, True])
def test_a_client_is_closed_by_its_handler(
    make_server: MakeServer, events: Events, threaded: bool
) -> None:
    server = make_server()
    server.on("join")(lambda client: server.send_client(client, "stop"))
    server.on("leave")(lambda client: events.add("leave", client.name))
    server.start()
    client = hisock.connect(server.addr, name="ann")
    client.on("stop", threaded=threaded)(lambda: client.close())
    thread = threading.Thread(target=client.start, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    events.wait_for("leave", "ann")
    with pytest.raises(ClientDisconnected):
        client.send("x")


def test_what_a_client_sent_before_close_reaches_the_server(
    make_server: MakeServer, events: Events
) -> None:
    server = make_server()
    server.on("last")(lambda client, message: events.add(len(message)))
    server.start()
    with hisock.connect(server.addr) as client:
        client.send("last", b"x" * 3_000_000)
    events.wait_for(3_000_000)


@pytest.mark.parametrize("emit_leave", [True, False])
def test_a_client_that_closes_leaves(
    make_server: MakeServer, events: Events, emit_leave: bool
) -> None:
    server = make_server()
    server.on("leave")(lambda client: events.add("leave", client.name))
    server.start()
    client = hisock.threaded_connect(server.addr, name="ann")
    client.start()
    client.close(emit_leave=emit_leave)
    events.wait_for("leave", "ann")
    assert events.seen == [("leave", "ann")]


def test_a_client_ends_when_its_server_vanishes(events: Events) -> None:
    with listening() as listener:
        client = hisock.HiSockClient(listener.getsockname())
        Peer(("", 0), sock=listener.accept()[0]).close()
        with pytest.raises(ServerNotRunning):
            client.start()
        assert client.closed


def test_context_managers_close_on_an_error() -> None:
    opened: list[Any] = []

    def fail() -> None:
        with hisock.ThreadedHiSockServer(LOOPBACK) as server:
            server.start()
            with hisock.ThreadedHiSockClient(server.addr) as client:
                client.start()
                opened.extend((server, client))
                raise KeyError("user error")

    with pytest.raises(KeyError):
        fail()
    assert [each.closed for each in opened] == [True, True]


def test_no_thread_outlives_close() -> None:
    before = set(threading.enumerate())
    with hisock.ThreadedHiSockServer(LOOPBACK) as server:
        done = threading.Event()
        server.on("work", threaded=True)(lambda: done.set())
        server.start()
        with hisock.ThreadedHiSockClient(server.addr) as client:
            client.start()
            client.send("work")
            assert done.wait(PATIENCE)
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(PATIENCE)
    assert not [thread for thread in left if thread.is_alive()]


def test_starting_twice_is_an_error(make_server: MakeServer, make_client: MakeClient) -> None:
    server = make_server()
    server.start()
    with pytest.raises(RuntimeError):
        server.start()
    client = make_client(server)
    client.start()
    with pytest.raises(RuntimeError):
        client.start()


def test_run_is_start(make_peer: MakePeer) -> None:
    server = hisock.HiSockServer(LOOPBACK)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with Peer.joined(server.addr):
        pass
    server.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_either_event_loop_serves(make_server: MakeServer, loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    server = make_server(loop=loop)
    server.on("echo")(lambda client, message: server.send_client(client, "echo", message))
    server.start()
    with Peer.joined(server.addr) as peer:
        assert peer.ask("echo", "x" * 100_000).message == b"x" * 100_000
        peer.reserved("USRCLOSE")
        assert peer.rest()[-1].reserved == "DISCONN"


def test_close_that_overtakes_start_ends_it(make_server: MakeServer) -> None:
    """Another thread closes the server when ``start`` has looked whether it is closed."""
    server = hisock.HiSockServer(("127.0.0.1", 0))
    life = server._life
    begin = life._begin

    def overtaken(callback: Any, error_handler: Any) -> bool:
        server.close()
        return begin(callback, error_handler)

    life._begin = overtaken  # type: ignore[method-assign]
    starting = threading.Thread(target=server.start, daemon=True)
    starting.start()
    starting.join(PATIENCE)
    assert not starting.is_alive()
    assert server.closed


def test_start_on_a_thread_whose_loop_runs_says_what_to_do_instead() -> None:
    async def main() -> None:
        with hisock.HiSockServer(("127.0.0.1", 0)) as server:
            with pytest.raises(RuntimeError, match=r"await serve\(\)"):
                server.start()
            async with server:
                client = await hisock.async_connect(server.addr)
                await client.close()

    asyncio.run(main())


def test_start_in_a_handler_of_a_server_that_runs_is_an_error(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    other = hisock.HiSockServer(("127.0.0.1", 0))

    @server.on("again")
    def again(client: hisock.ClientInfo) -> None:
        for each in (server, other):
            try:
                each.start()
            except RuntimeError as exc:
                events.add("refused", str(exc))

    server.start()
    with other:
        make_peer(server).send("again")
        events.wait_for("refused", count=2)
    assert events.named("refused")[0][-1] == "the server is running already"


def test_a_threaded_server_may_be_closed_while_its_thread_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0))
    start = threading.Thread.start

    def close_and_start(thread: threading.Thread) -> None:
        if thread.name == "hisock-server":
            server.close()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", close_and_start)
    server.start()
    server.join(PATIENCE)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.addr, PATIENCE)


def test_a_threaded_server_that_was_closed_says_so_when_it_is_started_again() -> None:
    server = hisock.ThreadedHiSockServer(LOOPBACK)
    server.start()
    server.close()
    with pytest.raises(RuntimeError, match="the server is closed; make a new one"):
        server.start()


def test_a_threaded_server_that_is_closed_before_its_start_does_not_start() -> None:
    server = hisock.ThreadedHiSockServer(LOOPBACK)
    server.close()
    server.start()
    server.join(PATIENCE)
    assert server.closed
