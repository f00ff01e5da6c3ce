"""Fixtures of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Events
from support.fixtures import MakeServer

import hisock

from .answering import answer
from .clients import KINDS, AnyClient, Kind
from .wire import HandServer


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every kind of client in turn."""
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def by_hand() -> Iterator[HandServer]:
    with HandServer() as made:
        yield made


@pytest.fixture
def serve(events: Events) -> Iterator[Callable[..., hisock.ThreadedHiSockServer]]:
    """Makes and starts servers on any address."""
    servers: list[hisock.ThreadedHiSockServer] = []

    def make(addr: Any, **options: Any) -> hisock.ThreadedHiSockServer:
        server = hisock.ThreadedHiSockServer(addr, **options)
        servers.append(server)

        @server.on("who am I")
        def who_am_i(client: hisock.ClientInfo) -> list[Any]:
            return [client.ip, list(client.addr), client.name]

        server.on("join")(lambda client: events.add("join", client))
        server.on("leave")(lambda client: events.add("leave", client))
        server.start()
        return server

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # The path of a Unix socket may have about a hundred bytes.
    return Path(os.path.relpath(tmp_path / "game.sock"))


@pytest.fixture
def server(
    make_server: MakeServer,
) -> hisock.ThreadedHiSockServer:
    """A server that answers calls as :func:`answer` says; a test file may have one of its own."""
    made = make_server()
    answer(made)
    made.start()
    return made


@pytest.fixture
def client(server: hisock.ThreadedHiSockServer, kind: Kind) -> Iterator[AnyClient]:
    """A client of it, of every kind in turn."""
    with AnyClient(kind, server.addr, "Ada", "red") as made:
        made.start()
        yield made
