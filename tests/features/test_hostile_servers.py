"""Servers that send without end what a client has to keep: its memory stays bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
from typing import Any

import pytest
from support import Events, Peer, frame
from support.events import PATIENCE
from support.fixtures import MakeServer
from support.logs import logged
from support.polling import eventually, until

import hisock
from hisock._client import asyncio_link, asyncio_reader, blocking_reader, threaded
from hisock._core.account import BOUNDS, Bound, Use
from hisock._runtime import threads, work

from .clients import AnyClient, Kind
from .loops import on_loops, on_one_loop, within
from .wire import HandServer

QUESTION = bytes(10_000)


def ask_until(full: threading.Event, sock: socket.socket) -> int:
    """Ask and ask, until the client reads no more and ``full`` is set; how often that was."""
    count = 0
    with sock.dup() as asking:
        asking.settimeout(0.02)
        while not full.is_set():
            count += 1
            left = memoryview(frame(b"$CALL$%d$CMD$again$MSG$" % count + QUESTION))
            while left and not full.is_set():
                with contextlib.suppress(TimeoutError):
                    left = left[asking.send(left) :]
        threading.Thread(target=_send, args=(sock.dup(), bytes(left))).start()
    return count


def _send(sock: socket.socket, data: bytes) -> None:
    """Send what is left, once the client reads again."""
    with sock:
        sock.settimeout(PATIENCE)
        sock.sendall(data)


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "threaded"])
@on_loops
async def test_questions_of_a_server_that_reads_no_answers_wait_in_its_own_memory(
    monkeypatch: pytest.MonkeyPatch, threaded: bool
) -> None:
    most = 300_000
    monkeypatch.setattr(asyncio_link, "MOST_ANSWERS", most)
    full = threading.Event()
    with HandServer() as server:
        client, peer = await server.serve(hisock.async_connect(server.addr))
        session = client._driver.session

        async def again(message: bytes) -> bytes:
            await asyncio.sleep(0)
            return message

        def again_threaded(message: bytes) -> bytes:
            return message

        client.on("again", threaded=threaded)(again_threaded if threaded else again)
        asking = asyncio.get_running_loop().run_in_executor(None, ask_until, full, peer.sock)
        await until(lambda: "answers" in session.pauses._reasons)
        assert not asking.done()
        waits = session.transport.get_write_buffer_size() + session.outbox.size
        assert most < waits < most + (9 << 20), "answers to the questions that had been read"
        full.set()
        asked = await within(asking)
        answers = asyncio.get_running_loop().run_in_executor(None, read_replies, peer, asked)
        assert sorted(await within(answers)) == list(range(1, asked + 1))
        await until(lambda: not session.pauses)
        peer.close()
        await within(client.close())


def read_replies(peer: Peer, count: int) -> list[int]:
    numbers = []
    for _ in range(count):
        reply = peer.wait_for(lambda got: got.reserved == "REPLY").payload
        number, _, message = reply.removeprefix(b"$REPLY$").partition(b"$MSG$")
        assert message == QUESTION
        numbers.append(int(number))
    return numbers


def test_parts_that_were_not_asked_for_end_the_connection(by_hand: HandServer) -> None:
    with hisock.threaded_connect(by_hand.addr, "Ada") as client, by_hand.take() as peer:
        client.start()
        peer.read()
        hello = {"features": ["call", "reject", "stream"], "codec": "json"}
        peer.reserved("SRVHELLO", json.dumps(hello))
        stream: Any = client.stream("all", timeout=PATIENCE)
        taken = []

        def take() -> None:
            for part in stream:
                taken.append(part)
                client.join(PATIENCE)  # until it has ended

        def flood() -> None:
            peer.wait_for(lambda got: got.reserved == "STREAM")
            peer.write(b"".join(frame(b"$PART$1$MSG$%d" % number) for number in range(1000)))

        with by_hand.playing(flood), pytest.raises(hisock.ConnectionLost, match="asked for"):
            take()
        assert 1 <= len(taken) <= 17


@pytest.mark.parametrize("kind", ["threaded", "async"])
def test_what_waits_for_threads_is_bounded_and_nothing_of_it_is_lost(
    by_hand: HandServer, events: Events, kind: Kind
) -> None:
    count, size = 1000, 50_000
    registered, go_on = threading.Event(), threading.Event()
    sent: list[int] = []

    def handle(message: bytes) -> None:
        go_on.wait(PATIENCE)
        events.add("handled", int(message[:5]))

    def flood() -> None:
        with by_hand.accept() as peer:
            assert registered.wait(PATIENCE)  # an async client is made only once it is accepted
            for number in range(count):
                peer.send("take", b"%05d" % number + bytes(size - 5))
                sent.append(number)
            peer.rest()

    with by_hand.playing(flood), AnyClient(kind, by_hand.addr) as client:
        client.on("take", handle, threaded=True)
        client.start()
        registered.set()
        work = client.client._driver.work
        eventually(lambda: work.behind, "the threads are behind")
        before, now = -1, 0
        while before != now:  # until nothing more is taken
            before = now
            go_on.wait(0.2)
            now = len(sent)
        # In threads, in their queue, and in what the system keeps for both sides.
        assert now * size < 30 << 20
        assert work.account.size() < 20 << 20
        go_on.set()
        events.wait_until(lambda seen: len(seen) == count)
    assert sorted(events.named("handled")) == [(number,) for number in range(count)]


@pytest.mark.parametrize("kind", ["threaded", "async"])
def test_a_long_message_in_a_thread_holds_up_nothing_else(
    make_server: MakeServer, events: Events, kind: Kind
) -> None:
    server = make_server()
    server.start()
    go_on = threading.Event()

    def take(message: bytes) -> None:
        events.add("went on", go_on.wait(PATIENCE))

    with AnyClient(kind, server.addr, "Ada") as client:
        client.on("take", take, threaded=True)
        client.on("continue", go_on.set)
        client.start()
        eventually(lambda: len(server) == 1, "it joins")
        server.send_client("Ada", "take", bytes(5 << 20))
        server.send_client("Ada", "continue")
        assert events.wait_for("went on") == ("went on", True)


@pytest.mark.parametrize("kind", ["threaded", "async"])
def test_threads_that_ask_the_server_are_answered_while_others_wait(
    make_server: MakeServer, events: Events, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    monkeypatch.setitem(BOUNDS, Use.QUEUED, Bound(32, 1 << 20))
    count = 400  # more than there are threads and than may wait for them
    server = make_server()
    server.on("double")(lambda client, number: 2 * int(number))
    server.start()
    with AnyClient(kind, server.addr, "Ada") as client:

        def handle(number: int) -> None:
            events.add("answer", client.call("double", number, int))

        client.on("ask", handle, threaded=True)
        client.start()
        eventually(lambda: len(server) == 1, "it joins")
        for number in range(count):
            server.send_client("Ada", "ask", number)
        events.wait_until(lambda seen: len(seen) == count)
    assert sorted(events.named("answer")) == [(2 * number,) for number in range(count)]


@pytest.mark.parametrize("kind", ["threaded", "async"])
def test_threads_that_all_wait_for_what_may_not_be_read_are_told_so(
    by_hand: HandServer, events: Events, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    monkeypatch.setitem(BOUNDS, Use.QUEUED, Bound(4, 1 << 20))
    monkeypatch.setattr(work, "MOST_THREADS", 4)
    monkeypatch.setattr(threads, "MOST_THREADS", 4)
    monkeypatch.setattr(threaded, "STUCK_SECONDS", 0.1)
    with AnyClient(kind, by_hand.addr) as client:

        def handle() -> None:
            try:
                client.call("back", timeout=None)
            except hisock.ConnectionLost as exc:
                events.add("told", str(exc))

        client.on("ask", handle, threaded=True)
        client.start()
        with by_hand.accept() as peer:
            peer.write(b"".join(frame(b"$CMD$ask") for _ in range(200)))
            told = events.wait_for("told")[1]
        assert "all 4 threads wait for the server" in told
        assert "give what handlers wait for a timeout" in told
        eventually(lambda: client.closed, "the client is closed")


def test_waiting_for_threads_and_then_for_frames_takes_one_timeout(
    by_hand: HandServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    clock = Clock()
    timeouts: list[float | None] = []

    def receive(timeout: float | None) -> list[Any]:
        timeouts.append(timeout)
        return []

    with by_hand.playing(by_hand.accept), hisock.connect(by_hand.addr) as client:
        driver = client._driver
        driver.threads_fall_behind()
        monkeypatch.setattr(blocking_reader, "time", clock)
        monkeypatch.setattr(driver.work, "holds_up_reading", lambda awaited: clock.now < 3)
        monkeypatch.setattr(driver.session, "receive", receive)
        assert not driver._fetch(5.0)
        monkeypatch.undo()
        driver.threads_keep_up()
    assert timeouts == [pytest.approx(2, abs=0.1)]


@on_one_loop
async def test_a_server_that_sends_much_and_hangs_up_again_and_again_fills_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asyncio_reader, "MOST_HELD", 50_000)
    soon = hisock.Reconnect(initial=0.001, maximum=0.001)
    handled: list[bytes] = []
    go_on = asyncio.Event()
    served = 0

    def flood() -> None:
        nonlocal served
        for number in range(10):
            with server.accept() as peer, contextlib.suppress(OSError):
                peer.write(frame(b"$CMD$take$MSG$%d" % number + bytes(20_000)) * 2)
            served += 1

    with HandServer() as server, logged("hisock.client", logging.INFO) as waiting:
        flooding = threading.Thread(target=flood, daemon=True)
        flooding.start()
        client = await within(hisock.async_connect(server.addr, reconnect=soon))

        async def take(message: bytes) -> None:
            await go_on.wait()
            handled.append(message[:1])

        client.on("take")(take)
        driver = client._driver
        await until(lambda: driver._line_is_long)
        await until(lambda: driver.session.ended)
        assert served < 5
        assert sum(session.inbox.size for session in driver._line) < 150_000
        await until(lambda: any("not coming back yet: " in text for text in waiting.messages))
        go_on.set()
        await until(lambda: served == 10 and len(handled) == 20)
        await within(client.close())
    assert handled == sorted(handled)


@on_one_loop
async def test_a_handler_may_wait_while_its_client_comes_back_a_hundred_times() -> None:
    soon = hisock.Reconnect(initial=0.001, maximum=0.001)
    answers: list[bytes] = []

    def serve() -> None:
        with server.accept() as peer:
            peer.write(frame(b"$CMD$ask"))
        for _ in range(100):
            with server.accept() as peer:  # which announces the client to itself
                peer.write(frame(b"$KEEPALIVE$"))
                peer.wait_for(lambda got: got.reserved == "KEEPACK")
        with server.accept() as peer:
            peer.write(frame(b"$CMD$answer$MSG$yes"))
            peer.rest()

    with HandServer() as server:
        serving = asyncio.ensure_future(asyncio.to_thread(serve))
        client = await within(hisock.async_connect(server.addr, reconnect=soon))

        async def ask() -> None:
            answers.append(await client.recv("answer"))

        client.on("ask")(ask)
        await until(lambda: answers)
        await within(client.close())
        await within(serving)
    assert answers == [b"yes"]


def test_after_an_end_because_all_threads_wait_the_next_connection_has_as_long() -> None:
    waits = threaded.ThreadedWork()
    ends = [now for now in range(100) if waits.stuck(work.MOST_THREADS, now) is not None]
    assert ends == [30, 61, 92]
