"""The server under attack, and the crowd beside the attackers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support import Crowd, Events
from support.logs import LogEvents, logged

import hisock

MAX_MESSAGE = 65536


@dataclass(frozen=True)
class Wired:
    """The server under attack, what its handlers saw, and the crowd beside the attacker.

    :ivar events: ``(event, client name, …)``; what the crowd counts is left out.
    :ivar errors: what was given to ``error_handler``, as ``(class name, text)``.
    """

    server: hisock.ThreadedHiSockServer
    events: Events
    errors: Events
    crowd: Crowd


def answer_counting(server: hisock.HiSockServer) -> None:
    """What a crowd expects of a server."""

    @server.on("count")
    def count(client: hisock.ClientInfo, number: bytes) -> None:
        server.send_client(client, "counted", number)


def wire(server: hisock.HiSockServer, events: Events) -> None:
    answer_counting(server)

    @server.on("before")
    def before(client: hisock.ClientInfo, token: str) -> None:
        events.add("before", client.name, token)

    @server.on("number")
    def number(client: hisock.ClientInfo, value: int) -> None:
        events.add("number", client.name, value)

    @server.on("explode")
    def explode(client: hisock.ClientInfo) -> None:
        raise RuntimeError(f"handler failed for {client.name}")

    @server.on("ping")
    def ping(client: hisock.ClientInfo) -> None:
        server.send_client(client, "pong")

    @server.on("join")
    def join(client: hisock.ClientInfo) -> None:
        events.add("join", client.name)

    @server.on("leave")
    def leave(client: hisock.ClientInfo) -> None:
        events.add("leave", client.name)

    @server.on("message")
    def message(client: hisock.ClientInfo, command: str, message: bytes) -> None:
        if command != "count":
            events.add("message", client.name, command, message)

    @server.on("*")
    def anything_else(client: hisock.ClientInfo, command: str, message: bytes) -> None:
        events.add("*", client.name, command, message)


@pytest.fixture(scope="module")
def wired() -> Iterator[Wired]:
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), max_message_size=MAX_MESSAGE)
    events, errors = Events(), Events()
    wire(server, events)
    server.start(error_handler=lambda error: errors.add(type(error).__name__, str(error)))
    crowd = Crowd(server.addr)
    yield Wired(server, events, errors, crowd)
    crowd.close()
    server.close()


@pytest.fixture
def log() -> Iterator[LogEvents]:
    """What the server logs during the test that is worth somebody's attention."""
    with logged("hisock.server") as records:
        yield records
