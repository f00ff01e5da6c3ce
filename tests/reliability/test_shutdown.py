"""``close(timeout=...)``: what runs may end, what waits is written, and nobody new comes in."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import Events, Frame, Peer, Program, frame
from support.events import PATIENCE

import hisock
from hisock._runtime.threads import FAIR_SHARE
from reliability.certificates import Authority
from reliability.watching import MIB, PROGRAMS, eventually

pytestmark = pytest.mark.usefixtures("nothing_left")
StartServer = Callable[..., hisock.ThreadedHiSockServer]
#: Seconds that no test needs; one that would wait so long fails.
LONG = 4 * PATIENCE


def refused(addr: tuple[str, int]) -> bool:
    try:
        socket.create_connection(addr, timeout=PATIENCE).close()
    except ConnectionError:
        return True
    return False


def refuses(server: hisock.HiSockServer) -> bool:
    """Whether nobody can connect any more: then the server is closing."""
    return refused(server.addr)


@contextlib.contextmanager
def closing_in_a_thread(server: hisock.HiSockServer, timeout: float | None) -> Iterator[None]:
    """The block runs while the server closes; afterwards it has closed."""
    thread = threading.Thread(target=lambda: server.close(timeout=timeout))
    thread.start()
    try:
        eventually(lambda: refuses(server), "the server begins to close")
        yield
    finally:
        thread.join(PATIENCE)
    assert not thread.is_alive()


def farewell(peer: Peer) -> list[str | None]:
    """What a peer is :func:`told` until the server ends the connection; then it closes as well."""
    frames = peer.rest()
    peer.close()
    return told(frames)


def told(frames: list[Frame]) -> list[str | None]:
    """The commands, and names of reserved frames, that a peer got; not who came and went."""
    names = [got.command or got.reserved for got in frames]
    return [name for name in names if name not in ("CLTCONN", "CLTDISCONN")]


class Held:
    """A server whose handlers ``hold`` wait for the frame ``go on``, and then say ``held``."""

    def __init__(self, kind: str, events: Events) -> None:
        self.kind = kind
        self.events = events

    def wire(self, server: hisock.ThreadedHiSockServer) -> None:
        events = self.events
        server.on("leave")(lambda client: events.add("leave", client.name))
        if self.kind == "threaded":

            @server.on("hold", threaded=True)
            def hold(client: hisock.ClientInfo) -> str:
                events.add("began")
                server.recv("go on", timeout=LONG)
                server.send_client(client, "held", b"")
                events.add("ended")
                return "done"
        else:

            @server.on("hold", concurrent=self.kind == "concurrent")
            async def hold_on(client: hisock.ClientInfo) -> str:
                events.add("began")
                try:
                    await server.wait_for("go on", timeout=LONG)
                except asyncio.CancelledError:
                    events.add("cancelled")
                    raise
                server.send_client(client, "held", b"")
                events.add("ended")
                return "done"


@pytest.fixture(params=["async", "concurrent", "threaded"])
def held(request: pytest.FixtureRequest, events: Events) -> Held:
    return Held(request.param, events)


@pytest.fixture
def held_async(events: Events) -> Held:
    return Held("async", events)


# Handlers


def test_a_handler_that_ends_in_time_ends(start_server: StartServer, held: Held) -> None:
    """It gets the frame that it waits for, and what it sends arrives before the goodbye."""
    server = start_server(held.wire)
    with Peer.joined(server.addr) as peer, Peer.joined(server.addr) as other:
        peer.send("hold")
        held.events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            peer.send("go on")
            assert farewell(peer) == ["held", "DISCONN"]
            assert farewell(other) == ["DISCONN"]
    assert held.events.named("ended")


def test_a_call_that_is_being_answered_is_answered(start_server: StartServer, held: Held) -> None:
    server = start_server(held.wire)
    with Peer.joined(server.addr) as other, hisock.ThreadedHiSockClient(server.addr) as client:
        client.start()
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(client.call("hold", None, str)))
        asking.start()
        held.events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            other.send("go on")
            asking.join(PATIENCE)
        assert answers == ["done"]


def test_an_async_handler_that_does_not_end_is_cancelled(
    start_server: StartServer, held_async: Held
) -> None:
    server = start_server(held_async.wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        held_async.events.wait_for("began")
        began = time.monotonic()
        server.close(timeout=0.5)
        assert 0.4 < time.monotonic() - began < 5
        assert farewell(peer) == ["DISCONN"]
    assert held_async.events.named("cancelled")
    assert not held_async.events.named("ended")


def test_a_thread_that_does_not_end_is_left_to_itself(
    start_server: StartServer, events: Events, closing: contextlib.ExitStack
) -> None:
    let_go = threading.Event()
    closing.callback(let_go.set)

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("hold", threaded=True)
        def hold() -> None:
            events.add("began")
            let_go.wait(LONG)

    server = start_server(wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        events.wait_for("began")
        with closing_in_a_thread(server, 0.2):
            assert farewell(peer) == ["DISCONN"]


def test_a_thread_that_waits_for_a_frame_is_told_when_the_time_is_over(
    start_server: StartServer, events: Events
) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("hold", threaded=True)
        def hold() -> None:
            events.add("began")
            try:
                server.recv("what never comes")
            except hisock.utils.ClientDisconnected:
                events.add("told")

    server = start_server(wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        events.wait_for("began")
        server.close(timeout=0.2)
        assert farewell(peer) == ["DISCONN"]
    assert events.named("told")


@pytest.mark.parametrize("timeout", [None, LONG])
def test_work_that_waits_for_a_thread_is_done_too(
    start_server: StartServer, events: Events, timeout: float | None
) -> None:
    """More of one client than it may have threads; without a timeout, what takes no second."""
    let_go = threading.Event()

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("work", threaded=True)
        def work(client: hisock.ClientInfo, number: int) -> None:
            let_go.wait(LONG)
            events.add(number)

    server = start_server(wire)
    count = 2 * FAIR_SHARE
    with Peer.joined(server.addr) as peer:
        for number in range(count):
            peer.send("work", str(number))
        peer.ask("ping", "all have come", answer="pong")
        with closing_in_a_thread(server, timeout):
            let_go.set()
    assert sorted(events.seen) == [(number,) for number in range(count)]


def test_no_handler_begins_while_the_server_closes(
    start_server: StartServer, held_async: Held
) -> None:
    """Neither of a command, nor of one that waited for an async handler, nor of a call."""
    events = held_async.events

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        held_async.wire(server)
        server.on("late")(lambda client: events.add("begun"))
        server.on("*")(lambda client, command, message: events.add("begun", command))
        server.on("name_change")(lambda client, old, new: events.add("begun", new))

    server = start_server(wire)
    with (
        Peer.joined(server.addr) as peer,
        Peer.joined(server.addr) as other,
        hisock.ThreadedHiSockClient(server.addr) as caller,
    ):
        caller.start()
        peer.send("hold")
        events.wait_for("began")
        peer.send("late", "x")  # waits for the handler that runs
        other.ask("ping", "so that it has come", answer="pong")
        with closing_in_a_thread(server, LONG):
            peer.send("late", "x")
            other.send("late", "x")
            other.send("unknown", "x")
            other.reserved("CHNAME", "new")
            with pytest.raises(hisock.RemoteError, match="closing"):
                caller.call("late", "x", timeout=PATIENCE)
            other.send("go on")
            assert farewell(peer) == ["held", "DISCONN"]
    assert not events.named("begun")


def test_a_client_that_leaves_while_the_server_closes_leaves(
    start_server: StartServer, held: Held
) -> None:
    server = start_server(held.wire)
    with Peer.joined(server.addr, "stays") as stays, Peer.joined(server.addr, "goes") as goes:
        stays.send("hold")
        held.events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            goes.reserved("USRCLOSE")
            assert farewell(goes) == ["DISCONN"]
            held.events.wait_for("leave", "goes")
            stays.send("go on")
            assert farewell(stays) == ["held", "DISCONN"]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_is_lost_while_its_handler_runs_holds_up_nothing(
    start_server: StartServer, held: Held, how: str
) -> None:
    server = start_server(held.wire)
    with Peer.joined(server.addr, "other") as other:
        lost = Peer.joined(server.addr, "lost")
        lost.send("hold")
        held.events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            getattr(lost, how)()
            other.send("go on")
            assert farewell(other) == ["DISCONN"]
    assert server.stats().connections == 0


def test_a_handler_that_resists_is_given_up(start_server: StartServer, events: Events) -> None:
    ended = asyncio.Event()

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("hold")
        async def hold() -> None:
            events.add("began")
            while not ended.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait_for(ended.wait(), 1.0)
                    break
                events.add("cancelled")

    server = start_server(wire)
    with Peer.joined(server.addr) as peer:
        peer.send("hold")
        events.wait_for("began")
        server.close(timeout=0.1)
        assert farewell(peer) == ["DISCONN"]
    assert events.named("cancelled")


# Ticks


def test_a_tick_that_runs_may_end_and_no_other_begins(
    start_server: StartServer, events: Events
) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.every(0.01)
        async def long_tick() -> None:
            events.add("tick")
            await server.wait_for("go on", timeout=LONG)
            server.send_all_clients("ticked")

        @server.every(3600)
        def never() -> None:
            events.add("never")

    server = start_server(wire)
    with Peer.joined(server.addr) as peer:
        events.wait_for("tick")
        with closing_in_a_thread(server, LONG):
            peer.send("go on")
            assert farewell(peer) == ["ticked", "DISCONN"]
    assert events.seen == [("tick",)]


# Output


@pytest.fixture(params=["plain", "TLS"])
def tls(request: pytest.FixtureRequest, authority: Authority) -> Authority | None:
    return authority if request.param == "TLS" else None


def slow_peer(server: hisock.HiSockServer, authority: Authority | None) -> Peer:
    """A client that has joined, with little room for what it has not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.settimeout(PATIENCE)
    sock.connect(server.addr)
    if authority is not None:
        sock = authority.context().wrap_socket(sock, server_hostname="localhost")
    peer = Peer(("", 0), sock=sock)
    peer.hello("slow")
    peer.ask("ping", "1", answer="pong")
    return peer


def start_with(
    start_server: StartServer, authority: Authority | None, **options: Any
) -> hisock.ThreadedHiSockServer:
    if authority is not None:
        options["ssl"] = (authority.server, authority.server)
    return start_server(send_buffer=64 * MIB, announce="none", **options)


def read_slowly(peer: Peer) -> bytes:
    """Everything until the end, about 4 MiB a second, saying something after each piece."""
    received = bytearray()
    while data := peer.sock.recv(65536):
        received += data
        time.sleep(len(data) / (4 * MIB))  # not to synchronise: this is what makes it slow
        with contextlib.suppress(OSError):
            peer.send("ping", "still here")
    return bytes(received)


def test_what_waits_for_a_slow_client_arrives_whole(
    start_server: StartServer, tls: Authority | None
) -> None:
    """8 MiB, which take it longer than a client may linger that has everything."""
    server = start_with(start_server, tls)
    content = hashlib.shake_128(b"8 MiB").digest(8 * MIB)
    with slow_peer(server, tls) as slow:
        for start in range(0, 8 * MIB, MIB):
            server.send_client("slow", "part", content[start : start + MIB])
        with closing_in_a_thread(server, LONG):
            received = read_slowly(slow)
    wanted = b"".join(
        frame(b"$CMD$part$MSG$" + content[start : start + MIB]) for start in range(0, 8 * MIB, MIB)
    )
    assert received == wanted + frame(b"$DISCONN$")


def test_a_client_that_never_reads_holds_it_up_no_longer_than_the_timeout(
    start_server: StartServer, tls: Authority | None
) -> None:
    server = start_with(start_server, tls)
    with slow_peer(server, tls):
        for _ in range(32):
            server.send_client("slow", "part", b"x" * MIB)
        began = time.monotonic()
        server.close(timeout=1.0)
        # It is waited for, but not more than that.
        assert 0.9 < time.monotonic() - began < 1.0 + PATIENCE / 3


def test_a_client_that_has_everything_and_stays_is_not_waited_for(
    start_server: StartServer, tls: Authority | None
) -> None:
    """It has read its goodbye, and never closes its own end."""
    server = start_with(start_server, tls)
    with slow_peer(server, tls) as stays:
        began = time.monotonic()
        with closing_in_a_thread(server, LONG):
            assert stays.read().reserved == "DISCONN"
        assert time.monotonic() - began < PATIENCE


def test_the_newest_state_arrives_before_the_goodbye(
    start_server: StartServer, tls: Authority | None
) -> None:
    """Also for a client that is behind, to which nothing of the kind is written otherwise."""
    server = start_with(start_server, tls)
    with slow_peer(server, tls) as slow:
        for _ in range(4):
            server.send_client("slow", "part", b"x" * MIB)
        eventually(lambda: server.backlog("slow") > 0, "it is behind")
        for number in range(10):
            server.send_client("slow", "state", number, latest="state")
        with closing_in_a_thread(server, LONG):
            frames = slow.rest()
    assert told(frames)[:4] == ["part"] * 4
    assert told(frames)[-2:] == ["state", "DISCONN"]
    assert frames[-2].message == b"9"


# Nobody new


def test_nobody_joins_while_the_server_closes(start_server: StartServer, held_async: Held) -> None:
    """Neither who comes, nor who was in the door, nor who is being decided about."""
    events = held_async.events

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        held_async.wire(server)
        server.on("join")(lambda client: events.add("join", client.name))

        @server.authenticate
        async def authenticate(name: str) -> None:
            if name == "undecided":
                events.add("asked")
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(LONG)

    server = start_server(wire)
    with (
        Peer.joined(server.addr, "inside") as inside,
        Peer(server.addr) as silent,
        Peer(server.addr) as undecided,
    ):
        undecided.hello("undecided")
        events.wait_for("asked")
        inside.send("hold")
        events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            assert farewell(undecided) == ["DISCONN"]
            assert silent.rest() == []
            with contextlib.suppress(OSError):
                silent.hello("late")
            inside.send("go on")
            assert farewell(inside) == ["held", "DISCONN"]
    assert events.named("join") == [("inside",)]


def test_handshakes_are_broken_off_when_the_server_closes(
    start_server: StartServer, held_async: Held, authority: Authority
) -> None:
    server = start_server(
        held_async.wire, ssl=(authority.server, authority.server), hello_timeout=LONG
    )
    with slow_peer(server, authority) as inside, contextlib.ExitStack() as stack:
        shaking = [stack.enter_context(Peer(server.addr)) for _ in range(3)]
        for peer, start in zip(shaking, (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"), strict=True):
            peer.write(start)
        inside.send("hold")
        held_async.events.wait_for("began")
        with closing_in_a_thread(server, LONG):
            for peer in shaking:
                assert peer.rest() == []
            inside.send("go on")
            assert farewell(inside)[-2:] == ["held", "DISCONN"]


# Signals


@pytest.mark.skipif(sys.platform == "win32", reason="a terminated process gets no signal there")
@pytest.mark.parametrize("how", ["terminate", "interrupt"])
def test_a_signal_takes_the_same_path(
    run_on_ours: Callable[..., Program], loop: str, how: str
) -> None:
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
