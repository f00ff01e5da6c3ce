"""A server can be closed from anywhere at any time, and then all of it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support import Events, Peer
from support.events import PATIENCE
from support.fixtures import StartServer
from support.logs import LogEvents
from support.polling import eventually
from support.wire import Closed

import hisock
from reliability.shutting import closing_in_a_thread, farewell
from reliability.watching import LOOPBACK, answer_pings, nothing_left_behind

pytestmark = pytest.mark.usefixtures("nothing_left")


def refused(server: hisock.HiSockServer) -> bool:
    try:
        socket.create_connection(server.addr, timeout=PATIENCE).close()
    except ConnectionError:
        return True
    return False


def from_handler(server: hisock.ThreadedHiSockServer) -> None:
    server.on("close")(server.close)


def from_threaded_handler(server: hisock.ThreadedHiSockServer) -> None:
    server.on("close", threaded=True)(server.close)


def from_async_handler(server: hisock.ThreadedHiSockServer) -> None:
    @server.on("close")
    async def close() -> None:
        await asyncio.sleep(0)
        server.close()


def from_message(server: hisock.ThreadedHiSockServer) -> None:
    @server.on("message")
    def message(client: hisock.ClientInfo, command: str, message: bytes) -> None:
        if command == "close":
            server.close()


def from_name_change(server: hisock.ThreadedHiSockServer) -> None:
    @server.on("name_change")
    def name_change(client: hisock.ClientInfo, old: str, new: str) -> None:
        server.close()


def from_tick(server: hisock.ThreadedHiSockServer) -> None:
    wanted = threading.Event()
    server.on("close")(lambda: wanted.set())

    @server.every(0.01)
    def tick() -> None:
        if wanted.is_set():
            server.close()


def from_another_thread(server: hisock.ThreadedHiSockServer) -> None:
    @server.on("close")
    def close() -> None:
        threading.Thread(target=server.close).start()


def from_two_threads(server: hisock.ThreadedHiSockServer) -> None:
    @server.on("close")
    def close() -> None:
        for _ in range(2):
            threading.Thread(target=server.close).start()
        server.close()
        server.close()


WAYS = [
    from_handler,
    from_threaded_handler,
    from_async_handler,
    from_message,
    from_name_change,
    from_tick,
    from_another_thread,
    from_two_threads,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_server_can_be_closed(start_server: StartServer, way: Any) -> None:
    server = start_server(way)
    with Peer.joined(server.addr, "closer") as closer, Peer.joined(server.addr) as other:
        closer.send("close")
        if way is from_name_change:
            closer.reserved("CHNAME", "other")
        assert closer.rest()[-1].reserved == "DISCONN"
        assert other.rest()[-1].reserved == "DISCONN"
    server.join(PATIENCE)
    assert server.closed
    assert refused(server)


@pytest.mark.parametrize("event", ["join", "leave"])
def test_a_server_can_be_closed_by_who_comes_and_goes(
    start_server: StartServer, event: str
) -> None:
    server = start_server(lambda server: server.on(event)(lambda client: server.close()))
    with Peer(server.addr) as peer:
        peer.hello("first")
        if event == "leave":
            peer.reserved("USRCLOSE")
        peer.rest()
    server.join(PATIENCE)
    assert refused(server)


def test_a_server_can_be_closed_while_it_decides_whom_to_let_in(
    start_server: StartServer, events: Events
) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.authenticate
        async def authenticate(name: str) -> None:
            events.add("asked", name)
            await asyncio.sleep(3600)

        server.on("join")(lambda client: events.add("joined"))

    server = start_server(wire)
    with Peer(server.addr) as peer:
        peer.hello("waits")
        events.wait_for("asked", "waits")
        with closing_in_a_thread(server, None):
            assert farewell(peer) == ["DISCONN"]
    assert not events.named("joined")


def test_a_client_that_has_closed_its_side_is_not_waited_for(
    start_server: StartServer, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is kept for the handler that runs, and has nothing more to wait for then."""
    monkeypatch.setattr("hisock._server.connection.LINGER_SECONDS", 600)
    never = asyncio.Event()

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("wait")
        async def wait(client: hisock.ClientInfo) -> None:
            events.add("began")
            await never.wait()

    server = start_server(wire)
    with Peer.joined(server.addr, "half") as half:
        half.send("wait")
        events.wait_for("began")
        half.end_writing()
        (connection,) = server._hub.connections
        eventually(lambda: connection._eof, "the server has read the end")
        server.disconnect_client("half")
        assert half.rest()[-1].reserved == "DISCONN"
        eventually(lambda: server.stats().connections == 0, "it is closed")


@pytest.mark.parametrize("delay", [0, 5, 50])
def test_a_server_can_be_closed_while_clients_come_and_go(
    start_server: StartServer, delay: int
) -> None:
    """Nobody is left hanging: whoever was let in is told, or reads the end."""
    server = start_server()
    stop = threading.Event()
    connected = threading.Semaphore(0)
    failures: list[BaseException] = []

    def come_and_go() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            try:
                with Peer(server.addr) as peer:
                    peer.hello(str(number))
                    peer.send("ping", "1")
                    connected.release()
                    if number % 3:
                        peer.wait_for("pong")
            except (OSError, Closed):
                pass
            except AssertionError as exc:
                # Closed before the answer came, which is right; silence would not be.
                if "Closed" not in str(exc):
                    failures.append(exc)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(delay + 1):
        assert connected.acquire(timeout=PATIENCE)
    server.close()
    stop.set()
    for thread in threads:
        thread.join(2 * PATIENCE)
        assert not thread.is_alive()
    assert failures == []
    assert refused(server)


@pytest.mark.timeout(120)
def test_no_thread_hangs_in_a_server_that_is_closed(loop: str, unexpected: LogEvents) -> None:
    """Calls from other threads, while the loop that would serve them comes to its end."""
    for _ in range(2):
        # Nobody is too slow: one thread sends without end.
        server = hisock.ThreadedHiSockServer(
            LOOPBACK,
            loop=loop,  # type: ignore[arg-type]
            send_buffer=1 << 30,
        )
        answer_pings(server)
        server.start()
        started = threading.Barrier(6)

        def use(what: Callable[[], Any], server: Any = server, started: Any = started) -> None:
            started.wait(PATIENCE)
            while not server.closed:
                with contextlib.suppress(hisock.utils.ClientNotFound, ConnectionError):
                    what()
            # And once it is closed.
            with contextlib.suppress(hisock.utils.ClientNotFound, ConnectionError):
                what()

        with Peer.joined(server.addr, "ann") as ann:
            calls: list[Callable[[], Any]] = [
                partial(server.send_all_clients, "x", "y"),
                partial(server.join_room, "ann", "room"),
                server.stats,
                partial(server.recv, "nothing", timeout=PATIENCE),
                partial(server.disconnect_client, "nobody"),
            ]
            threads = [threading.Thread(target=use, args=(call,), daemon=True) for call in calls]
            for thread in threads:
                thread.start()
            started.wait(PATIENCE)
            ann.ask("ping", "1", answer="pong")
            server.close()
            for thread in threads:
                thread.join(PATIENCE)
            assert [thread for thread in threads if thread.is_alive()] == []


def test_closing_gives_up_on_clients_that_take_nothing(start_server: StartServer) -> None:
    server = start_server()
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(Peer.joined(server.addr))
        # More than the sockets hold, and nobody reads it.
        server.send_all_clients("large", b"x" * 30_000_000)
        closing = threading.Thread(target=server.close)
        closing.start()
        closing.join(PATIENCE)
        assert not closing.is_alive()


def test_a_server_that_never_started_leaves_nothing() -> None:
    with nothing_left_behind():
        server = hisock.ThreadedHiSockServer(LOOPBACK)
        with contextlib.closing(socket.create_connection(server.addr)):
            server.close()
        assert refused(server)


def test_a_server_on_somebody_elses_loop_leaves_it_as_it_was(events: Events) -> None:
    async def serve() -> None:
        before = asyncio.all_tasks()
        server = hisock.HiSockServer(LOOPBACK)
        answer_pings(server)

        @server.every(0.01)
        async def tick() -> None:
            await asyncio.sleep(0)

        async with server:
            reader, writer = await asyncio.open_connection(*server.addr)
            writer.write(b"12              $CLTHELLO${}")
            assert await reader.readexactly(16)
        while await reader.read(65536):
            pass
        writer.close()
        await writer.wait_closed()
        assert asyncio.all_tasks() == before

    asyncio.run(serve())


@pytest.mark.parametrize("threaded", [False, True])
def test_a_client_that_is_closed_leaves_nothing(start_server: StartServer, threaded: bool) -> None:
    server = start_server()
    with nothing_left_behind():
        for _ in range(20):
            client = (
                hisock.ThreadedHiSockClient(server.addr)
                if threaded
                else hisock.connect(server.addr)
            )
            if threaded:
                client.start()
            client.send("ping", b"1")
            assert client.recv("pong", timeout=PATIENCE) == b"1"
            client.close()
