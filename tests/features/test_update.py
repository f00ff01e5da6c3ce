"""``client.update()``: what a game loop calls once a frame, and what never keeps it."""

from __future__ import annotations

import contextlib
import threading

import pytest
from support import Events, Peer, command_frame
from support.events import PATIENCE
from support.fixtures import MakeServer

import hisock

from .wire import HandServer


def test_update_returns_at_once_when_there_is_nothing(by_hand: HandServer) -> None:
    with hisock.connect(by_hand.addr) as client:
        # Before the server has accepted, and after: were it to wait, it would wait for ever.
        assert [client.update() for _ in range(1000)] == [0] * 1000
        with by_hand.accept() as peer:
            while not client.update():
                pass
            peer.write(b"12              $CMD$")  # a frame that is not complete
            assert [client.update() for _ in range(1000)] == [0] * 1000


def test_update_handles_at_most_what_it_is_told_to_and_keeps_the_rest(by_hand: HandServer) -> None:
    numbers: list[int] = []
    with hisock.connect(by_hand.addr) as client, by_hand.accept() as peer:

        @client.on("number")
        def number(value: int) -> None:
            numbers.append(value)

        peer.write(b"".join(command_frame("number", str(n)) for n in range(1000)))
        rounds = 0
        while len(numbers) < 1000:
            before = len(numbers)
            handled = client.update(7)
            assert handled <= 7
            assert len(numbers) - before <= handled
            rounds += 1
        assert numbers == list(range(1000))
        assert rounds >= 1000 / 7
        assert client.update(0) == 0
        peer.send("number", "1000")
        assert client.update(0) == 0
        while not client.update(1):
            pass
        assert numbers[-1] == 1000


def test_update_returns_though_the_server_never_stops_sending(by_hand: HandServer) -> None:
    flood = b"".join(command_frame("flood", bytes(500)) for _ in range(200))
    handled = 0
    with hisock.connect(by_hand.addr) as client, by_hand.accept() as peer:
        client.on("flood")(lambda: None)

        def send() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer.write(flood)  # it waits while the client takes nothing

        flooding = threading.Thread(target=send)
        flooding.start()
        # If one of them went on while there is something, there would be no next.
        for _ in range(200):
            handled += client.update()
        assert handled > 0
        client.close()
        flooding.join(PATIENCE)
        assert not flooding.is_alive()


def test_update_and_recv_and_call_share_what_comes(make_server: MakeServer) -> None:
    server = make_server()

    @server.on("more")
    def more(client: hisock.ClientInfo, count: int) -> int:
        for number in range(count):
            server.send_client(client, "handled", number)
            server.send_client(client, "kept", number)
        return count

    server.start()
    handled: list[int] = []
    with hisock.connect(server.addr) as client:
        client.on("handled")(lambda message: handled.append(int(message)))
        for times in range(1, 20):
            client.send("more", 3)
            while len(handled) < 4 * times - 3:
                client.update(1)
            assert client.recv("kept", int, 10) == 0
            assert client.call("more", 1, int) == 1
            assert [client.recv("kept", int, 10) for _ in range(3)] == [1, 2, 0]
            assert handled == [0, 1, 2, 0] * times


def test_update_in_another_thread_than_the_one_that_reads_does_nothing(
    by_hand: HandServer, events: Events
) -> None:
    with hisock.connect(by_hand.addr) as client, by_hand.accept() as peer:
        client.on("here")(lambda: events.add("here", threading.current_thread().name))
        waiting = threading.Thread(target=client.recv, args=("done",), name="reader")
        waiting.start()
        peer.send("here")
        events.wait_for("here")
        assert client.update() == 0
        peer.send("here")
        events.wait_for("here", count=2)
        peer.send("done")
        waiting.join(PATIENCE)
        assert events.named("here") == [("reader",)] * 2


def test_update_says_once_that_the_connection_is_lost(by_hand: HandServer) -> None:
    got: list[bytes] = []
    with hisock.connect(by_hand.addr) as client:
        client.on("last")(got.append)
        with by_hand.accept() as peer:
            peer.send("last", b"words")
        with pytest.raises(hisock.ConnectionLost):
            _update_for_ever(client)
        assert got == [b"words"]
        assert client.closed
        assert client.update() == 0


def _update_for_ever(client: hisock.HiSockClient) -> None:
    while True:
        client.update()


def test_update_of_a_client_that_was_disconnected_ends_quietly(by_hand: HandServer) -> None:
    told: list[str] = []
    with hisock.connect(by_hand.addr) as client:
        client.on("force_disconnect")(lambda: told.append("goodbye"))
        with by_hand.accept() as peer:
            peer.reserved("DISCONN")
            while not client.closed:
                client.update()
        assert told == ["goodbye"]
        assert client.update() == 0


def test_a_handler_may_close_the_client_during_update(by_hand: HandServer) -> None:
    numbers: list[int] = []
    with hisock.connect(by_hand.addr) as client, by_hand.accept() as peer:

        @client.on("number")
        def number(value: int) -> None:
            numbers.append(value)
            if value == 3:
                client.close()

        peer.write(b"".join(command_frame("number", str(n)) for n in range(10)))
        while not client.closed:
            client.update()
        assert numbers == [0, 1, 2, 3]
        assert client.update() == 0


def test_a_handler_that_calls_update_does_nothing_by_it(by_hand: HandServer) -> None:
    numbers: list[int] = []
    inner: list[int] = []
    with hisock.connect(by_hand.addr) as client, by_hand.accept() as peer:

        @client.on("number")
        def number(value: int) -> None:
            numbers.append(value)
            inner.append(client.update())

        peer.write(b"".join(command_frame("number", str(n)) for n in range(10)))
        while len(numbers) < 10:
            client.update()
        assert numbers == list(range(10))
        assert inner == [0] * 10


def test_a_handler_that_an_update_calls_cannot_start_the_client(by_hand: HandServer) -> None:
    seen = Events()
    with hisock.connect(by_hand.addr) as client, by_hand.accept() as peer:

        @client.on("go")
        def go() -> None:
            try:
                client.start()
            except RuntimeError as exc:
                seen.add(str(exc))

        def play() -> None:
            while not seen.seen:
                client.update()

        player = threading.Thread(target=play, daemon=True)
        player.start()
        peer.send("go")
        player.join(PATIENCE)
        assert seen.seen == [
            ("start() in a handler would wait for ever; call it where update() is called",)
        ]


def test_a_handler_of_an_event_of_the_client_cannot_wait_for_frames(
    make_server: MakeServer,
) -> None:
    seen = Events()
    server = make_server()
    server.on("join")(lambda client: seen.add("join"))
    server.start()
    client = hisock.connect(server.addr, reconnect=hisock.Reconnect(initial=0.01))

    @client.on("reconnect")
    def reconnect() -> None:
        try:
            client.recv("never", timeout=PATIENCE)
        except RuntimeError as exc:
            seen.add(type(exc).__name__)

    def play() -> None:
        while not client.closed:
            client.update()

    with client:
        player = threading.Thread(target=play, daemon=True)
        player.start()
        seen.wait_for("join")
        server.disconnect_client(server.get_all_clients()[0], force=True)
        seen.wait_for("RuntimeError")
    player.join(PATIENCE)


def test_update_returns_when_nothing_has_come(make_server: MakeServer) -> None:
    server = make_server(announce="none")
    server.start()
    with hisock.connect(server.addr) as client:
        for _ in range(1000):
            client.update()


def test_update_handles_what_has_come(make_server: MakeServer, events: Events) -> None:
    server = make_server()

    @server.on("ask")
    def ask(client: hisock.ClientInfo, count: int) -> None:
        for number in range(count):
            server.send_client(client, "n", number)

    server.start()
    with hisock.connect(server.addr) as client:
        client.on("n")(lambda number: events.add(int(number)))
        client.send("ask", 100)
        while len(events.seen) < 100:  # the test's time-out ends this if update() handles nothing
            client.update()
    assert events.seen == [(number,) for number in range(100)]


def test_update_may_be_called_by_a_handler_and_after_close(make_server: MakeServer) -> None:
    server = make_server()
    server.on("join")(lambda client: server.send_client(client, "again"))
    server.start()
    with hisock.connect(server.addr) as client:
        called = []

        @client.on("again")
        def again() -> None:
            called.append(True)
            client.update()

        while not called:
            client.update()
    client.update()


def test_update_sees_the_end(make_server: MakeServer, events: Events) -> None:
    server = make_server()
    server.start()
    with hisock.connect(server.addr, name="ann") as client:
        client.on("force_disconnect")(lambda: events.add("forced"))
        with Peer.joined(server.addr):
            server.disconnect_client("ann")
        while not client.closed:
            client.update()
    assert events.seen == [("forced",)]
