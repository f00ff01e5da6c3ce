"""Who gets a frame: registration, order, reserved events, override, threads, errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import Events, Peer, command_frame
from support.events import PATIENCE
from support.logs import logged

import hisock

MakeServer = Callable[..., hisock.ThreadedHiSockServer]
MakeClient = Callable[..., hisock.ThreadedHiSockClient]
MakePeer = Callable[..., Peer]


# Registration

SERVER_COUNTS = {
    "join": {1},
    "leave": {1},
    "name_change": {3},
    "group_change": {3},
    "message": {2, 3},
    "*": {3},
    "a command": {0, 1, 2},
}
CLIENT_COUNTS = {
    "client_connect": {1},
    "client_disconnect": {1},
    "force_disconnect": {0},
    "*": {2},
    "a command": {0, 1},
}
HANDLERS: list[Callable[..., Any]] = [
    lambda: None,
    lambda a: None,
    lambda a, b: None,
    lambda a, b, c: None,
    lambda a, b, c, d: None,
]


@pytest.mark.parametrize("event", SERVER_COUNTS)
@pytest.mark.parametrize("count", range(5))
def test_a_server_takes_handlers_with_the_arguments_of_the_event(
    make_server: MakeServer, event: str, count: int
) -> None:
    server = make_server()
    if count in SERVER_COUNTS[event]:
        assert server.on(event)(HANDLERS[count]) is HANDLERS[count]
    else:
        with pytest.raises(TypeError):
            server.on(event)(HANDLERS[count])


def test_a_client_takes_handlers_with_the_arguments_of_the_event(
    make_server: MakeServer, make_client: MakeClient
) -> None:
    server = make_server()
    server.start()
    client = make_client(server)
    for event, counts in CLIENT_COUNTS.items():
        for count, handler in enumerate(HANDLERS):
            if count in counts:
                assert client.on(event)(handler) is handler
            else:
                with pytest.raises(TypeError):
                    client.on(event)(handler)


@pytest.mark.parametrize("command", ["$x$", "$CMD$", "a $b$ c", ""])
def test_a_pair_of_dollars_and_nothing_are_no_commands(
    make_server: MakeServer, make_client: MakeClient, command: str
) -> None:
    server = make_server()
    server.start()
    client = make_client(server)
    for call in (
        lambda: server.on(command)(lambda: None),
        lambda: client.on(command)(lambda: None),
        lambda: server.send_all_clients(command),
        lambda: server.send_group("red", command),
        lambda: client.send(command),
    ):
        with pytest.raises(ValueError, match="command"):
            call()


def test_on_returns_the_function(make_server: MakeServer) -> None:
    server = make_server()

    @server.on("one")
    @server.on("two")
    def both(client: hisock.ClientInfo) -> str:
        return "still a function"

    assert both(None) == "still a function"  # type: ignore[arg-type]


def test_the_last_handler_of_a_command_is_the_one(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("x")(lambda client, message: events.add("first"))
    server.start()
    peer = make_peer(server)
    peer.send("x", "1")
    events.wait_for("first")
    server.on("x")(lambda client, message: events.add("second"))
    peer.send("x", "2")
    events.wait_for("second")
    assert len(events.seen) == 2


# Arguments


def test_handlers_take_as_many_arguments_as_they_want(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    server = make_server()

    @server.on("none")
    def none() -> None:
        events.add("server", 0)
        server.send_all_clients("none", "x")

    @server.on("one")
    def one(client: hisock.ClientInfo) -> None:
        events.add("server", 1, client.name)
        server.send_client(client, "one", "y")

    @server.on("two")
    def two(client: hisock.ClientInfo, message: str) -> None:
        events.add("server", 2, client.name, message)

    server.start()
    client = make_client(server, "ann")
    client.on("none")(lambda: events.add("client", 0))
    client.on("one")(lambda message: events.add("client", 1, message))
    client.start()
    for command in ("none", "one", "two"):
        client.send(command, "content")
    events.wait_for("server", 0)
    events.wait_for("server", 1, "ann")
    events.wait_for("server", 2, "ann", "content")
    events.wait_for("client", 0)
    events.wait_for("client", 1, b"y")


def test_the_message_event_takes_the_command_and_the_message_or_both_in_one(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("message")(lambda client, command, message: events.add(command, message))
    server.start()
    peer = make_peer(server)
    peer.send("x", "1")
    events.wait_for("x", b"1")
    server.on("message")(lambda client, raw: events.add("raw", bytes(raw)))
    peer.send("x", "2")
    (raw,) = events.wait_for("raw")[1:]
    assert raw in (b"$CMD$x$MSG$2", b"2")
    assert raw == b"$CMD$x$MSG$2", "raw is the payload, as in 2.0.2's cache"


# Order


def test_a_handler_comes_before_recv_before_the_wildcard_and_message_always(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("handled")(lambda client, message: events.add("handler", message))
    server.on("*")(lambda client, command, message: events.add("*", command, message))
    server.on("message")(lambda client, command, message: events.add("message", command, message))
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    peer = make_peer(server)

    def receive(name: str, command: str | None) -> threading.Thread:
        def wait() -> None:
            events.add(name, server.recv(command, timeout=PATIENCE))

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        wait_until_receiving(server, thread)
        return thread

    bare = receive("bare", None)
    first = receive("first", "asked")
    second = receive("second", "asked")
    for command, message in (
        ("handled", "1"),
        ("asked", "2"),
        ("asked", "3"),
        ("asked", "4"),
        ("asked", "5"),
    ):
        peer.send(command, message)
    for thread in (bare, first, second):
        thread.join(PATIENCE)
    peer.ask("ping", answer="pong")
    seen = [event for event in events.seen if event[0] != "message"]
    assert sorted(seen, key=lambda event: event[-1]) == [
        ("handler", b"1"),
        ("first", b"2"),
        ("second", b"3"),
        ("bare", b"4"),
        ("*", "asked", b"5"),
    ]
    messages = [event[1:] for event in events.seen if event[0] == "message"]
    assert messages[:5] == [
        ("handled", b"1"),
        ("asked", b"2"),
        ("asked", b"3"),
        ("asked", b"4"),
        ("asked", b"5"),
    ]


def wait_until_receiving(server: hisock.HiSockServer, thread: threading.Thread) -> None:
    """Until a thread waits in ``recv``; there is no public way to see that."""
    import sys

    while thread.is_alive():
        frame = sys._current_frames().get(thread.ident or 0)
        names = []
        while frame is not None:
            names.append((frame.f_code.co_name, frame.f_globals.get("__name__")))
            frame = frame.f_back
        ours = any(name == "recv" and str(room).startswith("hisock.") for name, room in names)
        if ours and ("wait", "threading") in names:
            return
    raise AssertionError("recv returned")


def test_frames_of_one_client_are_handled_in_order(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    """Handled ones, unhandled ones and reserved ones, all in one packet."""
    server = make_server()
    server.on("a")(lambda client, n: events.add("a", n))
    server.on("*")(lambda client, command, n: events.add("*", n))
    server.on("name_change")(lambda client, old, new: events.add("name", new.encode()))
    server.start()
    peer = make_peer(server, "start")
    stream, expected = b"", []
    for number in range(300):
        text = str(number).encode()
        kind = ("a", "*", "name")[number % 3]
        if kind == "name":
            stream += str(8 + len(text)).encode().ljust(16) + b"$CHNAME$" + text
        else:
            stream += command_frame("a" if kind == "a" else "unheard of", text)
        expected.append((kind, text))
    peer.write(stream)
    events.wait_for(*expected[-1])
    assert events.seen == expected


def test_each_change_of_name_is_seen_by_the_next_handler(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("who")(lambda client, n: events.add(n, client.name, client.group))
    server.start()
    peer = make_peer(server, "a", "g")
    peer.write(
        command_frame("who", "1")
        + b"9               $CHNAME$b"
        + command_frame("who", "2")
        + b"10              $CHGROUP$h"
        + command_frame("who", "3")
    )
    events.wait_for(b"3")
    assert events.seen == [(b"1", "a", "g"), (b"2", "b", "g"), (b"3", "b", "h")]


# Reserved events


def test_reserved_events_of_a_server(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("join")(lambda client: events.add("join", client))
    server.on("leave")(lambda client: events.add("leave", client))
    server.on("name_change")(lambda client, old, new: events.add("name", client, old, new))
    server.on("group_change")(lambda client, old, new: events.add("group", client, old, new))
    server.start()
    peer = make_peer(server, "ann", "red")
    Info = hisock.ClientInfo
    events.wait_for("join", Info(peer.addr, "ann", "red"))
    peer.reserved("CHNAME", "bob")
    events.wait_for("name", Info(peer.addr, "bob", "red"), "ann", "bob")
    peer.reserved("CHGROUP", "blue")
    events.wait_for("group", Info(peer.addr, "bob", "blue"), "red", "blue")
    peer.reserved("CHNAME")
    events.wait_for("name", Info(peer.addr, "ann", "blue"), "bob", "ann")
    peer.reserved("CHGROUP")
    events.wait_for("group", Info(peer.addr, "ann", "red"), "blue", "red")
    peer.close()
    events.wait_for("leave", Info(peer.addr, "ann", "red"))


def test_reserved_events_of_a_client(
    make_server: MakeServer, make_client: MakeClient, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.start()
    client = make_client(server, "ann", "red")
    client.on("client_connect")(lambda info: events.add("connect", info))
    client.on("client_disconnect")(lambda info: events.add("disconnect", info))
    client.on("force_disconnect")(lambda: events.add("forced"))
    client.start()
    Info = hisock.ClientInfo
    events.wait_for("connect", Info(client.get_client_addr(), "ann", "red"))
    peer = make_peer(server, "bob")
    events.wait_for("connect", Info(peer.addr, "bob", None))
    peer.close()
    events.wait_for("disconnect", Info(peer.addr, "bob", None))
    server.disconnect_client("ann")
    events.wait_for("forced")


def test_the_servers_wildcard_gets_raw_frames_too(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("*")(lambda client, command, message: events.add(client.name, command, message))
    server.start()
    peer = make_peer(server, "ann")
    peer.raw(b"no command")
    peer.send("unheard of")
    events.wait_for("ann", "unheard of", None)
    assert events.seen[0] == ("ann", None, b"no command")


# Override


@pytest.mark.parametrize("event", ["join", "leave", "message", "name_change", "group_change"])
def test_an_overridden_event_is_a_command_and_does_not_fire(
    make_server: MakeServer, make_peer: MakePeer, events: Events, event: str
) -> None:
    server = make_server()

    @server.on(event, override=True)
    def handler(client: hisock.ClientInfo, reason: str) -> None:
        events.add(client.name, reason)

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    with make_peer(server, "ann", "red") as peer:
        peer.reserved("CHNAME", "bob")
        peer.reserved("CHGROUP", "blue")
        peer.send(event, "because")
        peer.ask("ping", answer="pong")
    with make_peer(server, "last") as last:
        last.ask("ping", answer="pong")
    assert events.seen == [("bob", "because")]


def test_a_client_overrides_too(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    server = make_server()
    server.start()
    client = make_client(server, "ann")

    @client.on("client_disconnect", override=True)
    def handler(why: dict[str, str]) -> None:
        events.add(why)

    client.start()
    Peer.joined(server.addr).close()
    server.send_all_clients("client_disconnect", {"reason": "they left"})
    events.wait_for({"reason": "they left"})
    assert len(events.seen) == 1


# Threads and errors


def test_a_threaded_handler_runs_off_the_loop(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    release = threading.Event()

    @server.on("slow", threaded=True)
    def slow(client: hisock.ClientInfo, message: str) -> None:
        assert release.wait(PATIENCE)
        server.send_client(client, "slow", message)

    @server.on("release")
    def on_release() -> None:
        release.set()

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    peer = make_peer(server)
    peer.send("slow", "done")
    peer.ask("ping", answer="pong")
    peer.send("release")
    assert peer.wait_for("slow").message == b"done"


def test_threaded_reserved_events_run_off_the_loop_too(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()

    @server.on("join", threaded=True)
    def join(client: hisock.ClientInfo) -> None:
        answer = server.recv("name please", str, timeout=PATIENCE)
        server.send_client(client, "hello", answer)

    server.start()
    peer = make_peer(server)
    peer.send("name please", "ann")
    assert peer.wait_for("hello").message == b"ann"


def test_many_threaded_handlers_wait_at_once(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    """Forty handlers that wait for each other."""
    server = make_server()
    barrier = threading.Barrier(40)

    @server.on("meet", threaded=True)
    def meet() -> None:
        barrier.wait(PATIENCE)
        events.add("met")

    server.start()
    peer = make_peer(server)
    for _ in range(40):
        peer.send("meet")
    events.wait_for("met", count=40)


def test_threads_of_handlers_are_reused(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()

    @server.on("work", threaded=True)
    def work(client: hisock.ClientInfo) -> None:
        events.add(threading.get_ident())
        server.send_client(client, "worked")

    server.start()
    peer = make_peer(server)
    for _ in range(100):
        peer.ask("work", answer="worked")
    assert len(set(events.seen)) < 20


@pytest.mark.parametrize("threaded", [False, True])
def test_a_servers_handler_that_raises_is_reported_and_the_loop_goes_on(
    make_server: MakeServer, make_peer: MakePeer, events: Events, threaded: bool
) -> None:
    server = make_server()

    @server.on("explode", threaded=threaded)
    def explode(client: hisock.ClientInfo, number: int) -> None:
        raise KeyError(number)

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    with logged("hisock.server") as log:
        server.start(error_handler=lambda error: events.add(repr(error)))
        peer = make_peer(server, "ann")
        peer.send("explode", "1")
        peer.send("explode", "2")
        peer.ask("ping", answer="pong")
        events.wait_until(lambda seen: sorted(seen) == [("KeyError(1)",), ("KeyError(2)",)])
    assert len(log.messages) == 2
    assert all("explode" in text for text in log.messages)
    assert all(record.exc_info[0] is KeyError for _, record in log.seen)


@pytest.mark.parametrize("threaded", [False, True])
def test_a_clients_handler_that_raises_is_reported_and_the_loop_goes_on(
    make_server: MakeServer, make_client: MakeClient, events: Events, threaded: bool
) -> None:
    server = make_server()
    server.start()
    client = make_client(server, "ann")

    @client.on("explode", threaded=threaded)
    def explode(number: int) -> None:
        raise KeyError(number)

    client.on("fine")(lambda: events.add("fine"))
    with logged("hisock.client") as log:
        client.start(error_handler=lambda error: events.add(repr(error)))
        events_of_join = make_peer_join(server)
        assert events_of_join
        server.send_all_clients("explode", 1)
        server.send_all_clients("fine")
        events.wait_until(lambda seen: set(seen) == {("KeyError(1)",), ("fine",)})
    (text,) = log.messages
    assert "explode" in text


def make_peer_join(server: hisock.HiSockServer) -> bool:
    """Wait until everybody who connected before has joined."""
    with Peer.joined(server.addr):
        return True


def test_without_an_error_handler_the_loop_goes_on_as_well(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()

    @server.on("join")
    def join(client: hisock.ClientInfo) -> None:
        raise RuntimeError("cannot greet")

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    make_peer(server).ask("ping", answer="pong")
    make_peer(server).ask("ping", answer="pong")


def test_an_error_handler_that_raises_does_not_end_the_loop(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    server = make_server()

    @server.on("explode")
    def explode() -> None:
        raise RuntimeError("first")

    def fail(error: Exception) -> None:
        raise RuntimeError("second")

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start(error_handler=fail)
    peer = make_peer(server)
    peer.send("explode")
    peer.ask("ping", answer="pong")


def test_the_callback_is_called_after_each_message(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    server = make_server()
    server.on("x")(lambda client, message: events.add("handled", message))
    server.start(callback=lambda: events.add("server called back"))
    client = make_client(server)
    client.on("y")(lambda: events.add("client handled"))
    client.start(callback=lambda: events.add("client called back"))
    for number in range(3):
        client.send("x", number)
        events.wait_for("server called back", count=number + 1)
        server.send_all_clients("y")
        events.wait_for("client called back", count=number + 1)
    seen = [event[0] for event in events.seen]
    assert seen.index("handled") < seen.index("server called back")
    assert seen.index("client handled") < seen.index("client called back")


# The cache


def test_the_cache_keeps_the_last_frames(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    server = make_server()
    server.start()
    clients = {size: make_client(server, str(size), cache_size=size) for size in (-1, 0, 3)}
    for client in clients.values():
        client.on("known")(lambda: None)
        client.on("end")(lambda: events.add("end"))
        client.start()
    make_peer_join(server)
    for number in range(5):
        server.send_all_clients("known", number)
    server.send_all_clients("unknown", "x")
    server.send_all_clients("end")
    events.wait_for("end", count=3)
    make_peer_join(server)
    assert clients[-1].get_cache() == []
    kept = clients[0].get_cache()
    assert [member.command for member in kept] == ["known"] * 5 + ["unknown", "end"]
    assert [member.called for member in kept] == [True] * 5 + [False, True]
    assert kept[3].content == b"3"
    assert kept[3].header == str(len(b"$CMD$known$MSG$3")).encode().ljust(16)
    assert kept[5].content == b"$CMD$unknown$MSG$x"
    assert [member.command for member in clients[3].get_cache()] == ["known", "unknown", "end"]
    assert clients[0].get_cache(-1).command == "end"
    assert [member.command for member in clients[0].get_cache(slice(-2, None))] == [
        "unknown",
        "end",
    ]
