"""Which handlers can be registered, and what they are called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import Events
from support.fixtures import MakeClient, MakePeer, MakeServer

import hisock

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
    server.on("x", replace=True)(lambda client, message: events.add("second"))
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
    server.on("message", replace=True)(lambda client, raw: events.add("raw", bytes(raw)))
    peer.send("x", "2")
    (raw,) = events.wait_for("raw")[1:]
    assert raw in (b"$CMD$x$MSG$2", b"2")
    assert raw == b"$CMD$x$MSG$2", "raw is the payload, as in 2.0.2's cache"
