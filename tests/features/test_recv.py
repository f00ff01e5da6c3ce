"""``recv`` in each of its forms, on servers and on clients."""

from __future__ import annotations

import select
import threading
from typing import Any

import pytest
from support import Events, Peer
from support.events import PATIENCE
from support.fixtures import MakeClient, MakePeer, MakeServer
from support.wire import listening

import hisock
from hisock.utils import ClientDisconnected, InvalidTypeCast, ServerNotRunning


@pytest.fixture
def echo_server(make_server: MakeServer) -> hisock.ThreadedHiSockServer:
    """Answers every ``ask`` with an ``answer``."""
    server = make_server()
    server.on("ask")(lambda client, message: server.send_client(client, "answer", message))
    server.start()
    return server


def test_a_threaded_handler_of_a_client_waits_for_an_answer(
    echo_server: hisock.ThreadedHiSockServer, make_client: MakeClient, events: Events
) -> None:
    client = make_client(echo_server)

    @client.on("start", threaded=True)
    def start() -> None:
        for number in range(20):
            client.send("ask", number)
            events.add(client.recv("answer", int, timeout=PATIENCE))

    client.start()
    with Peer.joined(echo_server.addr):
        echo_server.send_all_clients("start")
    events.wait_for(19)
    assert events.seen == [(number,) for number in range(20)]


def test_a_threaded_handler_of_a_server_waits_for_an_answer(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()

    @server.on("interview", threaded=True)
    def interview(client: hisock.ClientInfo) -> None:
        server.send_client(client, "question", "how old?")
        age = server.recv("age", int, timeout=PATIENCE)
        server.send_client(client, "verdict", age + 1)

    server.start()
    peer = make_peer(server)
    peer.send("interview")
    peer.wait_for("question")
    peer.send("age", "41")
    assert peer.wait_for("verdict").message == b"42"


def test_another_thread_waits_for_an_answer(
    echo_server: hisock.ThreadedHiSockServer, make_client: MakeClient
) -> None:
    client = make_client(echo_server)
    client.start()
    for number in range(500):
        client.send("ask", number)
        assert client.recv("answer", int, timeout=PATIENCE) == number


def test_many_threads_wait_at_once_and_each_frame_goes_to_one(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.start()
    threads = [
        threading.Thread(
            target=lambda: events.add(server.recv("n", int, timeout=PATIENCE)), daemon=True
        )
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    peer = make_peer(server)
    for number in range(20):
        peer.send("n", str(number))
    events.wait_until(lambda seen: len(seen) == 20)
    assert sorted(events.seen) == [(number,) for number in range(20)]


def test_a_client_that_is_not_started_reads_the_socket_itself(
    echo_server: hisock.ThreadedHiSockServer,
) -> None:
    with hisock.connect(echo_server.addr, name="plain") as client:
        for number in range(20):
            client.send("ask", number)
            assert client.recv("answer", int, timeout=PATIENCE) == number
        client.send("ask", "bare")
        assert client.recv(recv_as=str, timeout=PATIENCE) == "bare"


def test_a_client_that_is_not_started_handles_on_the_way_what_has_a_handler(
    echo_server: hisock.ThreadedHiSockServer, events: Events
) -> None:
    with hisock.connect(echo_server.addr, name="plain") as client:
        client.on("client_connect")(lambda info: events.add("connect", info.name))
        client.on("news")(lambda text: events.add("news", text))
        with Peer.joined(echo_server.addr, "other"):
            echo_server.send_all_clients("news", "rain")
            client.send("ask", "x")
            assert client.recv("answer", timeout=PATIENCE) == b"x"
    assert events.seen == [("connect", "plain"), ("connect", "other"), ("news", b"rain")]


def test_several_threads_receive_on_a_client_that_is_not_started(
    echo_server: hisock.ThreadedHiSockServer, events: Events
) -> None:
    with hisock.connect(echo_server.addr) as client:
        threads = [
            threading.Thread(
                target=lambda: events.add(client.recv("answer", int, timeout=PATIENCE)),
                daemon=True,
            )
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for number in range(5):
            client.send("ask", number)
        for thread in threads:
            thread.join(PATIENCE)
    assert sorted(events.seen) == [(number,) for number in range(5)]


@pytest.mark.parametrize("side", ["server", "client"])
def test_on_the_loops_own_thread_it_raises_and_says_what_to_do(
    make_server: MakeServer, make_client: MakeClient, events: Events, side: str
) -> None:
    server = make_server()
    server.start(error_handler=events.add)
    client = make_client(server)
    client.start(error_handler=events.add)
    asked: Any = server if side == "server" else client

    def handler() -> None:
        asked.recv("never")

    asked.on("go")(handler)
    client.send("go")
    with Peer.joined(server.addr):
        server.send_all_clients("go")
        (error,) = events.wait_until(lambda seen: seen)[0]
    assert isinstance(error, RuntimeError)
    assert "threaded=True" in str(error)


@pytest.mark.parametrize("recv_on", ["never", None])
def test_a_timeout_is_a_timeout_error(
    make_server: MakeServer, make_client: MakeClient, recv_on: str | None
) -> None:
    server = make_server(announce="none")
    server.start()
    started = make_client(server)
    started.start()
    with hisock.connect(server.addr) as plain:
        for receiver in (server, started, plain):
            for timeout in (0, 0.01):
                with pytest.raises(TimeoutError):
                    receiver.recv(recv_on, timeout=timeout)


def test_a_recv_that_timed_out_takes_nothing_later(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("*")(lambda client, command, message: events.add(command, message))
    server.start()
    with pytest.raises(TimeoutError):
        server.recv("late", timeout=0.01)
    make_peer(server).send("late", "x")
    events.wait_for("late", b"x")


def noticing(
    server: hisock.ThreadedHiSockServer, make_client: MakeClient
) -> tuple[hisock.ThreadedHiSockClient, threading.Event]:
    """A started client, and what says that an answer, and a marker after it, have arrived."""
    client = make_client(server)
    arrived = threading.Event()
    client.on("marker")(arrived.set)
    client.start()

    @server.on("ask", replace=True)
    def answer(who: hisock.ClientInfo, message: str) -> None:
        server.send_client(who, "answer", message)
        server.send_client(who, "marker")

    return client, arrived


def test_a_frame_that_comes_just_before_recv_is_called_is_not_lost(
    echo_server: hisock.ThreadedHiSockServer, make_client: MakeClient
) -> None:
    """Between ``send`` and ``recv`` the answer may already be there; 2.0.2 loses it."""
    client, arrived = noticing(echo_server, make_client)
    client.send("ask", "early")
    assert arrived.wait(PATIENCE)
    assert client.recv("answer", str, timeout=PATIENCE) == "early"


@pytest.mark.parametrize("recv_on", ["answer", None])
def test_a_frame_from_before_the_latest_send_answers_no_recv(
    echo_server: hisock.ThreadedHiSockServer, make_client: MakeClient, recv_on: str | None
) -> None:
    """An older board that nobody took is not the board after this move."""
    client, arrived = noticing(echo_server, make_client)
    with Peer.joined(echo_server.addr):
        echo_server.send_all_clients("answer", "before the move")
        echo_server.send_all_clients("marker")
    assert arrived.wait(PATIENCE)
    client.send("ask", "after the move")
    assert client.recv(recv_on, str, timeout=PATIENCE) == "after the move"


def test_what_another_thread_sends_takes_no_answer_away(
    echo_server: hisock.ThreadedHiSockServer, make_client: MakeClient
) -> None:
    """Else two threads that each send and receive would lose each other's answers."""
    client, arrived = noticing(echo_server, make_client)
    client.send("ask", "mine")
    assert arrived.wait(PATIENCE)
    other = threading.Thread(target=lambda: client.send("something else"))
    other.start()
    other.join(PATIENCE)
    assert client.recv("answer", str, timeout=PATIENCE) == "mine"


def test_a_bare_recv_gets_the_answer_to_what_was_sent_last(
    echo_server: hisock.ThreadedHiSockServer, make_client: MakeClient
) -> None:
    """Frames that nobody asked for are no answer."""
    client, arrived = noticing(echo_server, make_client)
    with Peer.joined(echo_server.addr):
        echo_server.send_all_clients("noise", "unasked for")
        echo_server.send_all_clients("marker")
    assert arrived.wait(PATIENCE)
    client.send("ask", "asked for")
    assert client.recv(recv_as=str, timeout=PATIENCE) == "asked for"


def test_the_message_is_cast_as_asked(
    echo_server: hisock.ThreadedHiSockServer, make_client: MakeClient
) -> None:
    client = make_client(echo_server)
    client.start()
    for content, kind in (
        ("text", str),
        (5, int),
        (1.5, float),
        (True, bool),
        ([1, 2], list),
        ([1, 2], list[int]),
        ({"a": 1}, dict),
        (b"raw", bytes),
    ):
        client.send("ask", content)
        assert client.recv("answer", kind, timeout=PATIENCE) == content
    client.send("ask")
    assert client.recv("answer", int, timeout=PATIENCE) == 0
    client.send("ask")
    assert client.recv("answer", timeout=PATIENCE) == b""
    client.send("ask", "many")
    with pytest.raises(InvalidTypeCast, match="answer"):
        client.recv("answer", int, timeout=PATIENCE)


def test_closing_ends_waiting(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    server = make_server()
    server.start()
    client = make_client(server)
    client.start()
    plain = hisock.connect(server.addr)

    def wait(receiver: Any, name: str) -> None:
        try:
            receiver.recv("never")
        except Exception as exc:
            events.add(name, type(exc))

    for receiver, name in ((server, "server"), (client, "client"), (plain, "plain")):
        threading.Thread(target=wait, args=(receiver, name), daemon=True).start()
    client.close()
    events.wait_for("client", ClientDisconnected)
    server.close()
    events.wait_for("server", ClientDisconnected)
    events.wait_for("plain")
    plain.close()


def test_the_end_of_the_connection_ends_waiting() -> None:
    with listening() as listener:
        client = hisock.HiSockClient(listener.getsockname())
        Peer(("", 0), sock=listener.accept()[0]).close()
        with pytest.raises(ServerNotRunning):
            client.recv("never", timeout=PATIENCE)
        with pytest.raises((ServerNotRunning, ClientDisconnected)):
            client.recv("never", timeout=PATIENCE)
        client.close()


@pytest.mark.parametrize("recv_on", ["answer", None])
def test_a_frame_that_lay_unread_before_the_send_answers_no_recv(
    echo_server: hisock.ThreadedHiSockServer, recv_on: str | None
) -> None:
    """The client is not started: nobody has read it off the system before the send."""
    with hisock.connect(echo_server.addr, "Ada") as client:
        client.send("ask", "first")
        assert client.recv("answer", str, timeout=PATIENCE) == "first"
        seen: list[bytes] = []
        client.on("seen")(lambda message: seen.append(message))
        for text in ("old", "older"):
            echo_server.send_all_clients("answer", text)
            echo_server.send_all_clients("seen", text)
        readable = select.select([client.fileno()], [], [], PATIENCE)[0]
        assert readable
        _wait_until_written(echo_server)
        client.send("ask", "second")
        assert client.recv(recv_on, str, timeout=PATIENCE) == "second"
        assert seen == [b"old", b"older"], "what has a handler is handled, in order"
        client.send("ask", "third")
        client.send("ask", "fourth")
        # The answer to the third may have come before the fourth was sent, or after.
        assert client.recv(recv_on, str, timeout=PATIENCE) in ("third", "fourth")


def _wait_until_written(server: hisock.ThreadedHiSockServer) -> None:
    """Wait until the system has all that was sent, which on loopback means that it has come."""
    for _ in range(100):
        server._hub.thread.run(lambda: None)
        if not server.stats().queued_bytes:
            return
    pytest.fail("the server writes nothing")
