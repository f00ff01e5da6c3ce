"""A server behind hypercorn and granian, as they are started from the command line.

Nothing is asked of granian at the end but $DISCONN$: it was seen not to pass the close on.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from support import Program, free_port
from support.events import PATIENCE
from support.process import environment

from .browsing import PROGRAMS
from .web_peer import WebPeer, message

pytestmark = [
    pytest.mark.timeout(150),
    pytest.mark.skipif(not os.environ.get("HISOCK_TEST_BROWSER"), reason="make test-web runs this"),
]


def command_of(name: str, port: int) -> list[str]:
    if name == "hypercorn":
        return ["hypercorn", "asgi_site:app", "--bind", f"127.0.0.1:{port}"]
    bound = ["--host", "127.0.0.1", "--port", str(port)]
    return ["granian", "asgi_site:app", "--interface", "asgi", *bound]


@pytest.fixture(params=["hypercorn", "granian"])
def site(request: pytest.FixtureRequest) -> Iterator[tuple[str, tuple[str, int]]]:
    """The name of the ASGI server, and where it listens."""
    name = str(request.param)
    port = free_port()
    command = [sys.executable, "-m", *command_of(name, port)]
    env = environment(PYTHONPATH=str(PROGRAMS))
    with Program(command, env, cwd=PROGRAMS) as program:
        wait_for(port)
        yield name, ("127.0.0.1", port)
        program.terminate()
        with contextlib.suppress(AssertionError):
            program.wait(10)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 4 * PATIENCE
    while True:
        try:
            assert players(port) == []
            return
        except OSError:
            assert time.monotonic() < deadline


def players(port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/players", timeout=PATIENCE) as answer:
        return json.load(answer)


def test_the_game_is_played_beside_the_site(site: tuple[str, tuple[str, int]]) -> None:
    name, addr = site
    with WebPeer(addr) as ada, WebPeer(addr) as bob:
        for peer, who in ((ada, "Ada"), (bob, "Bob")):
            assert peer.open("/ws").status == 101
            peer.hello(who)
            peer.wait_for(lambda frame: frame.reserved == "CLTCONN")
        assert players(addr[1]) == ["Ada", "Bob"]
        assert ada.ask("echo", b"x" * 60_000).message == b"x" * 60_000
        bob.send("quit")
        bob.wait_for(lambda frame: frame.reserved == "DISCONN")
        if name != "granian":  # which need not pass the close frame on
            assert bob.wait_closed()[0] == 1000
        ada.wait_for(lambda frame: frame.reserved == "CLTDISCONN")
        ada.say(message(b"text", 1))
        if name != "granian":
            assert ada.wait_closed()[0] == 1003
