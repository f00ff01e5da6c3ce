"""Every test here ends with the threads and descriptors that it began with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import Events
from support.logs import LogEvents, logged

import hisock
from hisock._runtime import accepting
from hisock._runtime.loops import new_loop
from reliability.certificates import Authority
from reliability.shutting import Held
from reliability.watching import LOOPBACK, LOOPS, TLS, answer_pings, nothing_left_behind


@pytest.fixture(scope="session", autouse=True)
def _what_the_first_loop_keeps() -> None:
    """uvloop opens a pipe for signals with its first loop, and keeps it."""
    for name in LOOPS:
        new_loop(name).close()  # type: ignore[arg-type]


@pytest.fixture
def nothing_left() -> Iterator[None]:
    with nothing_left_behind():
        yield


@pytest.fixture
def closing(nothing_left: None) -> Iterator[contextlib.ExitStack]:
    """What is entered or pushed here is closed when the test ends, last one first."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    """Every event loop that there is."""
    name: str = request.param
    return name


@pytest.fixture(params=TLS)
def tls_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All that can do a server's TLS, in turn."""
    name: str = request.param
    if name == "ssl":
        monkeypatch.setattr(accepting, "fast_tls_module", lambda: None)
    return name


@pytest.fixture
def unexpected(nothing_left: None) -> Iterator[LogEvents]:
    """Afterwards, the event loop has had nothing to complain about, but for slow machines."""
    with logged("asyncio") as complaints:
        yield complaints
    assert [text for text in complaints.messages if not text.startswith("Executing ")] == []


@pytest.fixture
def start_server(
    closing: contextlib.ExitStack, loop: str, unexpected: LogEvents
) -> Callable[..., hisock.ThreadedHiSockServer]:
    """Starts servers that answer pings, on either loop."""

    def start(
        wire: Callable[[hisock.ThreadedHiSockServer], Any] = lambda server: None, **options: Any
    ) -> hisock.ThreadedHiSockServer:
        options.setdefault("loop", loop)
        server = hisock.ThreadedHiSockServer(options.pop("addr", LOOPBACK), **options)
        closing.callback(server.close)
        answer_pings(server)
        wire(server)
        server.start()
        return server

    return start


@pytest.fixture(params=["async", "concurrent", "threaded"])
def held(request: pytest.FixtureRequest, events: Events) -> Held:
    return Held(request.param, events)


@pytest.fixture
def held_async(events: Events) -> Held:
    return Held("async", events)
