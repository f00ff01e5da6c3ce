"""Very many slow requests, and clients that send all they can: what that costs a server."""

from __future__ import annotations

import contextlib
import gc
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Peer, Program, command_frame, raise_descriptor_limit
from support.events import PATIENCE
from support.polling import eventually

import hisock
from hisock._websocket.front import Sniffer

from .browsing import PROGRAMS
from .web_peer import PONG, WebPeer, message, request

KIB = 1024
MIB = 1024 * KIB
SLOW = 2000
FLOODING = 10

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


class Flooded:
    """A server in a process of its own.

    :ivar addr: where it listens.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.addr = ("127.0.0.1", int(program.wait_line("^[0-9]+$", 30)))

    def occupied(self) -> int:
        """Bytes of memory that it has now."""
        status = Path(f"/proc/{self._program.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * KIB


@pytest.fixture
def flooded(engine: str) -> Iterator[Flooded]:
    pytest.importorskip(engine)
    with Program([sys.executable, PROGRAMS / "flooded_server.py", engine]) as program:
        yield Flooded(program)


def test_two_thousand_slow_handshakes_hold_little_and_end_in_time(flooded: Flooded) -> None:
    raise_descriptor_limit(SLOW + 200)
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(WebPeer.in_web(flooded.addr))
        before = flooded.occupied()
        start = request()[:-30]
        slow = [stack.enter_context(socket.create_connection(flooded.addr)) for _ in range(SLOW)]
        for half in (start[:40], start[40:]):
            for sock in slow:
                with contextlib.suppress(OSError):  # the first may have been ended
                    sock.sendall(half)
        assert good.ask("echo", b"x").message == b"x"
        assert flooded.occupied() - before < SLOW * 16 * KIB
        for sock in slow:
            sock.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionError):
                while sock.recv(4096):
                    """An answer that says it was too slow."""
        assert good.ask("ended").json == {"hello": SLOW}
        assert good.ask("echo", b"y").message == b"y"


#: What each client sends again and again, and how often.
FLOODS = {
    "small messages": (message(command_frame("take", b"x" * 64)) * 500, 15),
    "large messages": (message(command_frame("take", b"x" * 65_000)), 20),
    "messages in parts": (
        message(command_frame("take", b"x" * 999), fin=False)
        + message(command_frame("take", b"y"), 0, fin=False) * 50
        + message(b"", 0),
        80,
    ),
    "pongs": (message(b"x" * 100, PONG) * 500, 15),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_after_a_flood_a_connection_holds_half_a_mebibyte_at_most(
    flooded: Flooded, kind: str
) -> None:
    data, times = FLOODS[kind]
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(WebPeer.in_web(flooded.addr)) for _ in range(FLOODING)]
        before = flooded.occupied()
        for _ in range(times):
            for peer in peers:
                peer.say(data)
        for peer in peers:
            assert peer.ask("echo", b"still").message == b"still"
        assert flooded.occupied() - before <= FLOODING * MIB // 2


def test_who_floods_and_does_not_read_is_ended_and_holds_nothing(flooded: Flooded) -> None:
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(WebPeer.in_web(flooded.addr))
        before = flooded.occupied()
        data = message(command_frame("echo", b"x" * 60_000))
        for _ in range(4):
            flood = stack.enter_context(WebPeer.in_web(flooded.addr))
            flood.sock.settimeout(PATIENCE)
            with contextlib.suppress(OSError):
                for _ in range(2000):
                    flood.say(data)
        eventually(lambda: good.ask("ended").json == {"slow": 4})
        assert flooded.occupied() - before <= 8 * MIB


def test_nothing_is_kept_of_the_detection_of_what_a_connection_speaks() -> None:
    """A transport of uvloop keeps methods of a protocol that is not of the kind of the next."""
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), websocket=True, loop="uvloop")
    server.start()
    with server, Peer.joined(server.addr), WebPeer.in_web(server.addr):
        assert len(server) == 2
        gc.collect()
        assert not [kept for kept in gc.get_objects() if isinstance(kept, Sniffer)]
