"""Servers on each engine for WebSockets, and each loop.

Most tests run on two pairs of them. Those of a module with ``EVERY_PAIR = True`` run on all.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
from collections.abc import Callable
from typing import Any

import pytest

import hisock

from .web_peer import WebPeer

ENGINES = ["picows", "websockets"]
LOOPS = ["asyncio"] + ["uvloop"] * (importlib.util.find_spec("uvloop") is not None)
MakeWebServer = Callable[..., hisock.ThreadedHiSockServer]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames and "loop_name" in metafunc.fixturenames:
        pairs = list(itertools.product(ENGINES, LOOPS))
        if not getattr(metafunc.module, "EVERY_PAIR", False):
            pairs = [(ENGINES[0], LOOPS[-1]), (ENGINES[1], LOOPS[0])]
        ids = ["-".join(pair) for pair in pairs]
        metafunc.parametrize(("engine", "loop_name"), pairs, ids=ids, indirect=True)
    elif "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", ENGINES, indirect=True)
    elif "loop_name" in metafunc.fixturenames:
        metafunc.parametrize("loop_name", LOOPS, indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """Which engine serves."""
    if importlib.util.find_spec(str(request.param)) is None:
        pytest.skip(f"{request.param} has no wheel here")
    return str(request.param)


@pytest.fixture
def loop_name(request: pytest.FixtureRequest) -> str:
    """Which loop it runs on."""
    return str(request.param)


@pytest.fixture
def make_web_server(
    closing: contextlib.ExitStack, engine: str, loop_name: str
) -> Callable[..., hisock.ThreadedHiSockServer]:
    """Makes servers that take WebSockets and echo; start them with ``.start()``."""

    def make(
        addr: Any = ("127.0.0.1", 0), web: dict[str, Any] | None = None, **options: Any
    ) -> hisock.ThreadedHiSockServer:
        websocket = hisock.WebSocket(engine=engine, **(web or {}))  # type: ignore[arg-type]
        options |= {"websocket": websocket, "loop": loop_name}
        server = hisock.ThreadedHiSockServer(addr, **options)
        closing.callback(server.close)

        @server.on("echo")
        def echo(client: hisock.ClientInfo, message: bytes) -> bytes:
            server.send_client(client, "echo", message)
            return message

        return server

    return make


@pytest.fixture
def server(make_web_server: MakeWebServer) -> hisock.ThreadedHiSockServer:
    made = make_web_server()
    made.start()
    return made


@pytest.fixture
def join(
    server: hisock.ThreadedHiSockServer, closing: contextlib.ExitStack
) -> Callable[..., WebPeer]:
    """Joins the server by a WebSocket."""

    def make(name: str | None = None, **headers: str) -> WebPeer:
        return closing.enter_context(WebPeer.in_web(server.addr, name, **headers))

    return make
