"""A server that stops and is back soon: clients with ``reconnect`` come back, others do not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import Events, free_port
from support.events import PATIENCE
from support.fixtures import MakeServer, Run

import hisock

from .clients import SOON, AnyClient, Kind, Watched
from .wire import HandServer, modern_peer

PROGRAMS = Path(__file__).parent / "programs"
#: All are told of all, so the frames of a restart grow with the square of this.
CLIENTS = 150


def test_a_restart_under_load_loses_no_client(run_on_ours: Run) -> None:
    port = free_port()
    server = run_on_ours(PROGRAMS / "victim_server.py", str(port))
    clients = None
    try:
        server.wait_line("ready")
        clients = run_on_ours(PROGRAMS / "restart_clients.py", str(port), str(CLIENTS))
        clients.wait_line("all in", 6 * PATIENCE)
        for times in range(1, 3):
            server.terminate()
            assert server.wait() == 0
            server = run_on_ours(PROGRAMS / "victim_server.py", str(port))
            server.wait_line("ready")
            clients.wait_line(f"all back {times}", 6 * PATIENCE)
        assert [line for line in clients.lines if line.startswith("gone")] == []
    finally:
        server.kill()
        if clients is not None:
            clients.kill()


def _goodbye(server: hisock.ThreadedHiSockServer, features: list[str], **close: bool) -> str:
    server.start()
    with (
        ThreadPoolExecutor(1) as pool,
        modern_peer(server.addr, "Ada", features=features) as peer,
    ):
        closing = pool.submit(server.close, **close)
        frame = peer.wait_for(lambda f: f.reserved in ("GOAWAY", "DISCONN"))
        peer.close()  # which the server waits for
        closing.result(PATIENCE)
        return frame.payload.decode()


@pytest.mark.parametrize(
    ("features", "close", "goodbye"),
    [
        (["goaway"], {}, "$GOAWAY$7.500"),
        (["call"], {}, "$DISCONN$"),
        (["goaway"], {"final": True}, "$DISCONN$"),
    ],
)
def test_who_knows_it_is_told_when_the_server_is_back(
    make_server: MakeServer, features: list[str], close: dict[str, bool], goodbye: str
) -> None:
    assert _goodbye(make_server(restart_after=7.5), features, **close) == goodbye


def test_a_server_that_never_comes_back_says_so(make_server: MakeServer) -> None:
    assert _goodbye(make_server(restart_after=None), ["goaway"]) == "$DISCONN$"


def test_a_kick_is_final_for_those_who_would_come_back(make_server: MakeServer, kind: Kind) -> None:
    server = make_server()
    server.start()
    with Watched(kind, server.addr, "Ada") as watched:
        kicked = threading.Event()
        watched.any.on("force_disconnect", lambda: kicked.set())
        assert watched.any.client.connected
        watched.any.send("anything")
        server.recv("anything", timeout=PATIENCE)
        server.disconnect_all_clients()
        watched.any.pump(kicked.is_set)
        assert watched.any.closed


def test_without_reconnect_a_client_of_a_server_that_stops_ends(
    make_server: MakeServer, kind: Kind
) -> None:
    server = make_server()
    server.start()
    events = Events()
    client = AnyClient(kind, server.addr, "Ada")
    client.on("force_disconnect", lambda: events.add("ended"))
    client.start()
    client.send("anything")
    server.recv("anything", timeout=PATIENCE)
    server.close()
    client.pump(lambda: bool(events.named("ended")))
    assert client.closed
    client.close()


def test_clients_stay_away_for_as_long_as_the_server_asks(by_hand: HandServer, kind: Kind) -> None:
    once = hisock.Reconnect(attempts=0)
    with Watched(kind, by_hand.addr, "Ada", reconnect=once) as watched:
        peer = by_hand.accept()
        assert watched.any.client.connected
        peer.reserved("GOAWAY", "0.2")
        watched.until("disconnect")
        assert not by_hand.somebody_waits
        # It comes back though it may make no attempt: the server asked it to.
        with peer, by_hand.accept():
            watched.until("reconnect")


@pytest.mark.parametrize("seconds", ["", "soon", "-1", "1e9", "86401", "nan"])
def test_an_absence_that_is_no_time_is_a_loss(
    by_hand: HandServer, kind: Kind, seconds: str
) -> None:
    with Watched(kind, by_hand.addr, "Ada") as watched:
        with by_hand.accept() as peer:
            assert watched.any.client.connected
            peer.reserved("GOAWAY", seconds)
            watched.until("disconnect")
        with by_hand.accept():
            watched.until("reconnect")


def test_rooms_are_entered_again_before_what_was_kept_is_sent(
    by_hand: HandServer, kind: Kind
) -> None:
    with Watched(kind, by_hand.addr, "Ada", reconnect=SOON, offline_buffer=4096) as watched:
        ada = watched.any
        # The handler sends twice: in place of the one that only tells.
        ada.on("reconnect", lambda: [ada.client.send("enter", room) for room in "ab"], replace=True)
        by_hand.accept().close()
        watched.until("disconnect")
        for number in range(3):
            ada.send("say", number)
        came: list[tuple[str | None, bytes | None]] = []
        with by_hand.accept() as peer:

            def all_came() -> bool:
                return len(came) == 5

            def read() -> None:
                while not all_came():
                    frame = peer.wait_for(lambda f: f.command is not None)
                    came.append((frame.command, frame.message))

            with by_hand.playing(read):
                ada.pump(all_came)
        assert came == [
            ("enter", b"a"),
            ("enter", b"b"),
            ("say", b"0"),
            ("say", b"1"),
            ("say", b"2"),
        ]


@pytest.mark.parametrize("kind", ["threaded", "async"])
def test_what_was_kept_waits_for_a_slow_handler(make_server: MakeServer, kind: Kind) -> None:
    """A handler in a thread that calls the server; nothing overtakes it."""
    server = make_server()
    seen: list[object] = []
    done = threading.Event()

    @server.on("enter")
    def enter(client: hisock.ClientInfo, room: str) -> str:
        seen.append(room)
        return room

    @server.on("say")
    def say(client: hisock.ClientInfo, number: int) -> None:
        seen.append(number)
        if number == 2:
            done.set()

    server.start()
    with Watched(kind, server.addr, "Ada", offline_buffer=4096) as watched:
        ada = watched.any
        if kind == "async":

            async def enter_again() -> None:
                for room in ("a", "b"):
                    await ada.client.call("enter", room)

            ada.on("reconnect", enter_again, replace=True)
        else:

            def enter_in_thread() -> None:
                for room in ("a", "b"):
                    ada.client.call("enter", room)

            ada.on("reconnect", enter_in_thread, threaded=True, replace=True)
        ada.on(
            "disconnect", lambda reason: [ada.client.send("say", n) for n in range(3)], replace=True
        )
        ada.send("hello")
        server.recv("hello", timeout=PATIENCE)
        server.disconnect_all_clients(force=True)
        assert done.wait(PATIENCE)
    assert seen == ["a", "b", 0, 1, 2]


def test_a_refused_name_is_undone(make_server: MakeServer, kind: Kind) -> None:
    server = make_server(unique_names=True)
    server.start()
    with AnyClient(kind, server.addr, "Ada") as ada, AnyClient(kind, server.addr, "Bob") as bob:
        ada.start()
        bob.start()
        bob.send("here")
        server.recv("here", timeout=PATIENCE)
        ada.client.change_name("Bob")
        ada.pump(lambda: ada.client.name == "Ada")
        ada.client.change_name("Eve")
        ada.client.change_group("red")
        ada.send("done")
        server.recv("done", timeout=PATIENCE)
        assert (ada.client.name, ada.client.group) == ("Eve", "red")


def test_a_refusal_that_overtakes_the_write_undoes_the_name_too(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's own thread reads the answer before the thread that asked has gone on."""
    server = make_server(unique_names=True)
    server.start()
    with (
        AnyClient("threaded", server.addr, "Ada") as ada,
        AnyClient("threaded", server.addr, "Bob") as bob,
    ):
        bob.send("here")
        server.recv("here", timeout=PATIENCE)
        driver = ada.client._driver
        answered = threading.Event()
        write, called = driver.write, driver.called

        def write_and_dawdle(frame: bytes) -> None:
            write(frame)
            assert answered.wait(PATIENCE)

        def called_and_tell(*args: Any) -> None:
            called(*args)
            answered.set()

        monkeypatch.setattr(driver, "write", write_and_dawdle)
        monkeypatch.setattr(driver, "called", called_and_tell)
        ada.start()
        ada.client.change_name("Bob")
        assert ada.client.name == "Ada"


def test_a_name_that_could_not_be_asked_for_is_not_taken(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    client = hisock.connect(server.addr, "Ada", "red")
    client.close()
    for change in (client.change_name, client.change_group):
        with pytest.raises(hisock.exceptions.ClientDisconnected):
            change("other")
    assert (client.name, client.group) == ("Ada", "red")


def test_a_client_is_called_what_it_was_accepted_as(make_server: MakeServer, kind: Kind) -> None:
    server = make_server()

    @server.authenticate
    def authenticate(request: hisock.JoinRequest) -> hisock.Accept:
        return hisock.Accept(name="admin", group="staff")

    server.start()
    with AnyClient(kind, server.addr, "Ada") as ada:
        ada.start()
        ada.pump(lambda: (ada.client.name, ada.client.group) == ("admin", "staff"))
