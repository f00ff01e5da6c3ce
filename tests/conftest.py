"""Fixtures for everything that runs over real sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Also where pytest does not put the folder of this file on the path (importlib mode).
sys.path.insert(0, str(Path(__file__).parent))

from support import Events, OldHiSock, Peer, Program
from support.process import environment

import hisock

ROOT = Path(__file__).parents[1]
LOOPBACK = ("127.0.0.1", 0)

_HERE = Path(__file__).parent
#: Seconds after which a test of these folders counts as hung.
_LIMITS = {"features": 60, "hostile": 90, "interop": 90, "compat": 90}


# Where bytecode is not kept, each program that a test starts compiles all that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell starts what runs in the background with this signal ignored, and programs inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


#: "picows" or "websockets": all servers take WebSockets by it, and all their clients come that way.
OVER = os.environ.get("HISOCK_TEST_OVER")
if OVER:
    from websocket import over

    over.install(OVER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if OVER and (reason := over.excluded(item.nodeid)) is not None:
            item.add_marker(pytest.mark.skip(reason=f"over WebSockets: {reason}"))
        folder = item.path.relative_to(_HERE).parts[0] if _HERE in item.path.parents else ""
        if folder in _LIMITS and item.get_closest_marker("timeout") is None:
            # Without the fixtures, of which one may have to install 2.0.2.
            item.add_marker(pytest.mark.timeout(_LIMITS[folder], func_only=True))


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def closing() -> Iterator[contextlib.ExitStack]:
    """What is entered or pushed here is closed when the test ends, last one first."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def make_server(
    closing: contextlib.ExitStack,
) -> Callable[..., hisock.ThreadedHiSockServer]:
    """Makes threaded servers on free ports of the loopback; start them with ``.start()``."""

    def make(**options: Any) -> hisock.ThreadedHiSockServer:
        server = hisock.ThreadedHiSockServer(LOOPBACK, **options)
        closing.callback(server.close)
        return server

    return make


@pytest.fixture
def make_client(
    closing: contextlib.ExitStack,
) -> Callable[..., hisock.ThreadedHiSockClient]:
    """Makes threaded clients of a server; start them with ``.start()``."""

    def make(
        server: hisock.HiSockServer | tuple[str, int],
        name: str | None = None,
        group: str | None = None,
        **options: Any,
    ) -> hisock.ThreadedHiSockClient:
        addr = server if isinstance(server, tuple) else server.addr
        client = hisock.ThreadedHiSockClient(addr, name, group, **options)
        closing.callback(client.close)
        return client

    return make


@pytest.fixture
def make_peer(closing: contextlib.ExitStack) -> Callable[..., Peer]:
    """Makes raw peers that have joined a server."""

    def make(
        server: hisock.HiSockServer, name: str | None = None, group: str | None = None
    ) -> Peer:
        return closing.enter_context(Peer.joined(server.addr, name, group))

    return make


@pytest.fixture(scope="session")
def old_hisock() -> OldHiSock:
    """The real 2.0.2."""
    return OldHiSock.installed(ROOT / ".cache")


@pytest.fixture(scope="session")
def run_on_ours() -> Callable[..., Program]:
    """Runs a script on this hisock."""
    env = environment(PYTHONPATH=str(Path(hisock.__file__).parents[1]))

    def run(script: Path, *arguments: str) -> Program:
        return Program([sys.executable, script, *arguments], env, cwd=script.parent)

    return run
