"""Who may close a server, from where, and what closing it twice comes to."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import Any

import pytest
from support import Peer
from support.events import PATIENCE
from support.fixtures import Run, StartServer
from support.polling import eventually

import hisock
from reliability.watching import PROGRAMS

from .shutting import LONG, Held, closing_in_a_thread, farewell, refused, refuses

pytestmark = pytest.mark.usefixtures("nothing_left")
# Signals


@pytest.mark.skipif(sys.platform == "win32", reason="a terminated process gets no signal there")
@pytest.mark.parametrize("how", ["terminate", "interrupt"])
def test_a_signal_takes_the_same_path(run_on_ours: Run, loop: str, how: str) -> None:
    """The server's own handler of SIGINT, and a handler of SIGTERM that the program has set."""
    with run_on_ours(PROGRAMS / "graceful_server.py", loop) as program:
        port = int(program.wait_line("port").split()[1])
        with Peer.joined(("127.0.0.1", port)) as peer:
            peer.ask("hold", answer="began")
            getattr(program, how)()
            if how == "terminate":
                eventually(lambda: refused(("127.0.0.1", port)), "it begins to close")
                peer.send("go on")
            graceful = ["held"] if how == "terminate" else []
            assert farewell(peer) == [*graceful, "DISCONN"]
        cancelled = [] if how == "terminate" else ["cancelled", "interrupted"]
        assert program.finish() == [f"port {port}", *cancelled, "after start"]
        assert program.errors == ""


# From anywhere, and twice


def from_handler(server: hisock.ThreadedHiSockServer) -> None:
    @server.on("close")
    def close(client: hisock.ClientInfo) -> None:
        server.close(timeout=LONG)
        server.send_client(client, "last words")


def from_async_handler(server: hisock.ThreadedHiSockServer) -> None:
    @server.on("close")
    async def close(client: hisock.ClientInfo) -> None:
        server.close(timeout=LONG)
        await asyncio.to_thread(eventually, lambda: refuses(server), "it begins to close")
        server.send_client(client, "last words")


def from_threaded_handler(server: hisock.ThreadedHiSockServer) -> None:
    @server.on("close", threaded=True)
    def close(client: hisock.ClientInfo) -> None:
        server.close(timeout=LONG)
        eventually(lambda: refuses(server), "it begins to close")
        server.send_client(client, "last words")


def from_a_handlers_thread(server: hisock.ThreadedHiSockServer) -> None:
    """It waits for the end in another thread, and so for itself; until that is cancelled."""

    @server.on("close")
    async def close(client: hisock.ClientInfo) -> None:
        server.send_client(client, "last words")
        await asyncio.to_thread(server.close, timeout=0.2)


def from_tick(server: hisock.ThreadedHiSockServer) -> None:
    wanted: list[hisock.ClientInfo] = []
    server.on("close")(wanted.append)

    @server.every(0.01)
    async def tick() -> None:
        if wanted:
            server.close(timeout=LONG)
            server.send_client(wanted[0], "last words")


def from_join(server: hisock.ThreadedHiSockServer) -> None:
    @server.on("join")
    def join(client: hisock.ClientInfo) -> None:
        server.close(timeout=LONG)
        server.send_client(client, "last words")


def from_two_threads(server: hisock.ThreadedHiSockServer) -> None:
    @server.on("close")
    def close(client: hisock.ClientInfo) -> None:
        for _ in range(2):
            threading.Thread(target=lambda: server.close(timeout=LONG)).start()
        server.close(timeout=LONG)
        server.send_client(client, "last words")


WAYS = [
    from_handler,
    from_async_handler,
    from_threaded_handler,
    from_a_handlers_thread,
    from_tick,
    from_join,
    from_two_threads,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_server_can_be_closed_with_a_timeout(start_server: StartServer, way: Any) -> None:
    server = start_server(way)
    with Peer(server.addr) as peer:
        peer.hello("closer")
        with contextlib.suppress(OSError):
            peer.send("close")
        assert farewell(peer) == ["last words", "DISCONN"]
    server.join(PATIENCE)
    assert server.closed
    assert refuses(server)


def test_a_shorter_timeout_hastens_the_end(start_server: StartServer, held_async: Held) -> None:
    server = start_server(held_async.wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        held_async.events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            server.close(timeout=0)
            assert farewell(peer) == ["DISCONN"]
    assert held_async.events.named("cancelled")


@pytest.mark.parametrize("timeout", [None, 10 * LONG])
def test_closing_again_takes_no_time_away(
    start_server: StartServer, held: Held, timeout: float | None
) -> None:
    """As leaving a ``with`` block does while another thread closes the server."""
    server = start_server(held.wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        held.events.wait_for("began")
        with closing_in_a_thread(server, LONG), closing_in_a_thread(server, timeout):
            peer.send("go on")
            assert farewell(peer) == ["held", "DISCONN"]


def test_closing_without_a_timeout_cannot_be_drawn_out(
    start_server: StartServer, held_async: Held
) -> None:
    server = start_server(held_async.wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        held_async.events.wait_for("began")
        with closing_in_a_thread(server, None):
            server.close(timeout=LONG)
            assert farewell(peer) == ["DISCONN"]
    assert not held_async.events.named("ended")


def test_a_server_that_never_started_is_closed_with_a_timeout_too(loop: Any) -> None:
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), loop=loop)
    server.close(timeout=1.0)
    server.close(timeout=1.0)
    assert refuses(server)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_is_none_is_refused(start_server: StartServer, timeout: float) -> None:
    server = start_server()
    with pytest.raises(ValueError, match="timeout"):
        server.close(timeout=timeout)
    assert not server.closed


def test_endless_patience_is_possible(start_server: StartServer, held: Held) -> None:
    server = start_server(held.wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        held.events.wait_for("began")
        with closing_in_a_thread(server, float("inf")):
            peer.send("go on")
            assert farewell(peer) == ["held", "DISCONN"]


def test_a_decision_that_ends_the_program_says_goodbye_first(loop: str) -> None:
    """Where it was raised after an await, it left the loop twice, and the goodbyes unsaid."""
    server = hisock.HiSockServer(("127.0.0.1", 0), loop=loop)  # type: ignore[arg-type] # a name
    ends: list[BaseException] = []

    @server.authenticate
    async def authenticate(name: str) -> None:
        await asyncio.sleep(0)
        if name == "last":
            raise SystemExit(3)

    @server.on("hi")
    def hi(client: hisock.ClientInfo) -> None:
        server.send_client(client, "hi")

    def run() -> None:
        try:
            server.start()
        except SystemExit as exc:
            ends.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    with Peer(server.addr) as first, Peer(server.addr) as last:
        first.hello("first")
        first.ask("hi")
        last.hello("last")
        assert first.read().reserved == "DISCONN"
    thread.join(PATIENCE)
    assert [getattr(end, "code", None) for end in ends] == [3]
