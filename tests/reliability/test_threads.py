"""Threaded handlers: one client gets a share of the threads, and what waits is bounded."""

from __future__ import annotations

import contextlib
import select
import socket
import sysconfig
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import Events, Peer, command_frame
from support.events import PATIENCE
from support.fixtures import StartServer
from support.polling import eventually

import hisock
from hisock._core.ordering import DEFERRED_FRAMES
from hisock._runtime.threads import FAIR_SHARE, MOST_THREADS, WAITING_WORK
from reliability.watching import MIB, on_linux, resident

pytestmark = pytest.mark.usefixtures("nothing_left")


class Gate:
    """Lets handlers go on one by one, or all of them."""

    def __init__(self, closing: contextlib.ExitStack) -> None:
        self._permits = threading.Semaphore(0)
        self._open = False
        closing.callback(self.open)

    def wait(self) -> None:
        if not self._open:
            self._permits.acquire(timeout=4 * PATIENCE)

    def let_one_go(self) -> None:
        self._permits.release()

    def open(self) -> None:
        self._open = True
        self._permits.release(MOST_THREADS)


@pytest.fixture
def gate(closing: contextlib.ExitStack) -> Gate:
    return Gate(closing)


@pytest.fixture
def server(start_server: StartServer, events: Events, gate: Gate) -> hisock.ThreadedHiSockServer:
    """Its threaded ``block`` waits at the gate, its threaded ``work`` answers at once."""

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("block", threaded=True)
        def block(client: hisock.ClientInfo, number: int) -> None:
            events.add(client.name, number)
            gate.wait()

        @server.on("work", threaded=True)
        def work(client: hisock.ClientInfo, message: bytes) -> None:
            server.send_client(client, "worked", message)

    return start_server(wire, announce="none")


@pytest.fixture
def join(
    server: hisock.ThreadedHiSockServer, gate: Gate, closing: contextlib.ExitStack
) -> Callable[[str], Peer]:
    def join(name: str) -> Peer:
        peer = closing.enter_context(Peer(server.addr))
        peer.hello(name)
        peer.ask("ping", "1", answer="pong")
        return peer

    return join


def blocks(*numbers: int) -> bytes:
    return b"".join(command_frame("block", str(number)) for number in numbers)


def test_one_client_leaves_threads_for_others(
    join: Callable[[str], Peer], events: Events, gate: Gate
) -> None:
    """1,000 commands whose handlers block, and somebody else is answered at once."""
    greedy, modest = join("greedy"), join("modest")
    greedy.write(blocks(*range(1000)))
    events.wait_until(lambda seen: len(seen) == FAIR_SHARE)
    for number in range(10):
        assert modest.ask("work", str(number), answer="worked").message == str(number).encode()
    # It has its own plain handlers still, and no more threads than its share.
    assert greedy.ask("ping", "2", answer="pong").message == b"2"
    assert len(events.seen) == FAIR_SHARE
    gate.open()
    events.wait_until(lambda seen: len(seen) == 1000)
    assert sorted(number for _, number in events.seen) == list(range(1000))
    assert greedy.ask("work", "last", answer="worked").message == b"last"


def test_what_waits_for_a_thread_begins_in_order(
    join: Callable[[str], Peer], events: Events, gate: Gate
) -> None:
    peer = join("x")
    peer.write(blocks(*range(FAIR_SHARE + 100)))
    events.wait_until(lambda seen: len(seen) == FAIR_SHARE)
    for number in range(FAIR_SHARE, FAIR_SHARE + 100):
        gate.let_one_go()
        events.wait_for("x", number)
        assert len(events.seen) == number + 1


def test_a_thread_that_comes_free_goes_to_who_has_waited_longest(
    join: Callable[[str], Peer], events: Events, gate: Gate
) -> None:
    """Four clients may have all the threads together; the fifth is next then, not the last."""
    greedy = [join(f"greedy {number}") for number in range(MOST_THREADS // FAIR_SHARE)]
    for peer in greedy:
        peer.write(blocks(*range(500)))
    events.wait_until(lambda seen: len(seen) == MOST_THREADS)
    late = join("late")
    late.send("block", "1")
    late.ask("ping", "its command has come", answer="pong")
    gate.let_one_go()
    events.wait_for("late", 1)
    assert len(events.seen) == MOST_THREADS + 1


def send_what_is_taken(peer: Peer, data: bytes) -> int:
    """Send until nothing is taken for a second; how many bytes were."""
    peer.sock.setblocking(False)
    sent = 0
    while sent < len(data) and select.select([], [peer.sock], [], 1.0)[1]:
        sent += peer.sock.send(data[sent : sent + 65536])
    peer.sock.settimeout(PATIENCE)
    return sent


@on_linux
@pytest.mark.parametrize("size", [16, 16384])
def test_a_client_that_sends_without_end_is_not_read_without_end(
    server: hisock.ThreadedHiSockServer,
    join: Callable[[str], Peer],
    events: Events,
    gate: Gate,
    size: int,
) -> None:
    """Nothing of it is lost, and nobody else waits."""
    count = 64 * MIB // size if size > 16 else 40_000
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # else it takes them all
    data = b"".join(command_frame("block", str(n).ljust(size)) for n in range(count))
    endless, other = join("endless"), join("other")
    endless.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    memory = resident()
    before = server.stats().messages_in
    sent = send_what_is_taken(endless, data)
    assert sent < len(data)
    taken = server.stats().messages_in - before
    one_read = 65536 // (size + 27) + 1
    assert taken <= FAIR_SHARE + WAITING_WORK + DEFERRED_FRAMES + 2 * one_read
    # Each thread has a heap of its own where there is no GIL.
    assert resident() - memory < (96 if sysconfig.get_config_var("Py_GIL_DISABLED") else 32) * MIB
    assert other.ask("work", "1", answer="worked").message == b"1"
    gate.open()
    endless.sock.settimeout(4 * PATIENCE)  # it is taken as fast as it is handled
    endless.write(data[sent:])
    events.wait_until(lambda seen: len(seen) == count, 4 * PATIENCE)
    assert endless.ask("ping", "2", answer="pong").message == b"2"
    eventually(lambda: not server._hub.workers._lines, "nothing is kept for it")


def test_a_client_that_leaves_is_forgotten_when_its_work_is_done(
    server: hisock.ThreadedHiSockServer, join: Callable[[str], Peer], events: Events, gate: Gate
) -> None:
    """As with async handlers: what it sent before is handled first, then it leaves."""
    server.on("leave")(lambda client: events.add("leave", client.name))
    peer = join("leaver")
    count = FAIR_SHARE + WAITING_WORK + 500
    peer.write(blocks(*range(count)))
    events.wait_until(lambda seen: len(seen) == FAIR_SHARE)
    peer.close()
    gate.open()
    events.wait_for("leave", "leaver")
    events.wait_until(lambda seen: len(seen) == count + 1)
    eventually(lambda: server.stats().connections == 0, "its connection is gone")


def test_threaded_handlers_may_ask_a_client_that_sends_much(
    server: hisock.ThreadedHiSockServer, events: Events
) -> None:
    """Its replies pass what waits for a thread."""

    @server.on("ask me", threaded=True)
    def ask_me(client: hisock.ClientInfo, number: int) -> None:
        events.add(server.call_blocking(client, "double", number, int, PATIENCE))

    count = FAIR_SHARE + WAITING_WORK + DEFERRED_FRAMES // 2
    with hisock.ThreadedHiSockClient(server.addr) as client:

        @client.on("double")
        def double(number: int) -> int:
            return 2 * number

        client.start()
        for number in range(count):
            client.send("ask me", number)
        events.wait_until(lambda seen: len(seen) == count, 4 * PATIENCE)
    assert sorted(doubled for (doubled,) in events.seen) == [2 * n for n in range(count)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_a_handler_ends_is_replaced(
    server: hisock.ThreadedHiSockServer, join: Callable[[str], Peer], events: Events
) -> None:
    @server.on("exit", threaded=True)
    def leave_the_thread(client: hisock.ClientInfo) -> None:
        events.add("exit")
        raise SystemExit

    peer = join("x")
    for _ in range(2 * FAIR_SHARE):
        peer.send("exit")
    events.wait_for("exit", count=2 * FAIR_SHARE)
    assert peer.ask("work", "1", answer="worked").message == b"1"


def test_work_that_waits_when_the_server_closes_never_holds_it_up(
    server: hisock.ThreadedHiSockServer, join: Callable[[str], Peer], events: Events, gate: Any
) -> None:
    peer = join("x")
    peer.write(blocks(*range(FAIR_SHARE + WAITING_WORK + 2 * DEFERRED_FRAMES)))
    events.wait_until(lambda seen: len(seen) == FAIR_SHARE)
    server.close()
    assert not server._hub.workers._turns
    gate.open()
