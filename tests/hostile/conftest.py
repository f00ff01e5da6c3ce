"""The server under attack, and the crowd beside the attackers."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest
from support import Crowd, Events
from support.events import PATIENCE
from support.logs import LogEvents, logged

import hisock

MAX_MESSAGE = 65536


@dataclass(frozen=True)
class Wired:
    """The server under attack, what its handlers saw, and the crowd beside the attacker.

    :ivar events: ``(event, client name, …)``; what the crowd counts is left out.
    :ivar errors: what was given to ``error_handler``, as ``(class name, text)``.
    :ivar release: ends a ``hold``, which keeps the loop busy.
    """

    server: hisock.ThreadedHiSockServer
    events: Events
    errors: Events
    crowd: Crowd
    release: threading.Semaphore


def answer_counting(server: hisock.HiSockServer) -> None:
    """What a crowd expects of a server."""

    @server.on("count")
    def count(client: hisock.ClientInfo, number: bytes) -> None:
        server.send_client(client, "counted", number)


def wire(server: hisock.HiSockServer, events: Events, release: threading.Semaphore) -> None:
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

    @server.on("hold")
    def hold(client: hisock.ClientInfo) -> None:
        """Keep the loop from reading until the test lets go."""
        events.add("holding", client.name)
        assert release.acquire(timeout=PATIENCE)

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


Loop = Literal["asyncio", "uvloop"]


def loops() -> list[Loop]:
    """The event loops that can serve here."""
    if any(importlib.util.find_spec(name) for name in ("uvloop", "winloop")):
        return ["asyncio", "uvloop"]
    return ["asyncio"]


@pytest.fixture(scope="module", params=loops())
def loop(request: pytest.FixtureRequest) -> Loop:
    """Each loop ends connections in its own way."""
    chosen: Loop = request.param
    return chosen


@pytest.fixture(scope="module")
def wired(loop: Loop) -> Iterator[Wired]:
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), max_message_size=MAX_MESSAGE, loop=loop)
    events, errors, release = Events(), Events(), threading.Semaphore(0)
    wire(server, events, release)
    server.start(error_handler=lambda error: errors.add(type(error).__name__, str(error)))
    crowd = Crowd(server.addr)
    yield Wired(server, events, errors, crowd, release)
    crowd.close()
    server.close()


@pytest.fixture
def log() -> Iterator[LogEvents]:
    """What the server logs during the test that is worth somebody's attention."""
    with logged("hisock.server") as records:
        yield records
