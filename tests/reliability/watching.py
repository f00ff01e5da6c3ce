"""What the tests here watch from outside: descriptors, threads, memory, others being served."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Peer
from support.polling import eventually

import hisock
from hisock._runtime.accepting import fast_tls_module
from hisock._runtime.loops import fast_loop_module

MIB = 1024 * 1024
LOOPBACK = ("127.0.0.1", 0)
LOOPS = ["asyncio"] if fast_loop_module() is None else ["asyncio", "uvloop"]
#: What can do a server's TLS here: aiofastnet, and the loop with Python's ssl.
TLS = ["ssl"] if fast_tls_module() is None else ["aiofastnet", "ssl"]
PROGRAMS = Path(__file__).parent / "programs"

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def descriptors() -> dict[str, str]:
    """The open descriptors of this process, by number, and what each is.

    Without ``/dev/null``: uvloop keeps one in reserve from the first connection of a loop on.
    """
    found = {}
    for number in os.listdir("/proc/self/fd"):
        # The one that listed them is closed by now.
        with contextlib.suppress(OSError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return {number: what for number, what in found.items() if what != "/dev/null"}


def resident(pid: int | str = "self") -> int:
    """Bytes of memory that a process occupies."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Afterwards, every thread and every descriptor that came up in between is gone."""
    threads = set(threading.enumerate())
    files = descriptors() if sys.platform == "linux" else {}
    yield
    eventually(
        lambda: set(threading.enumerate()) <= threads,
        f"threads end: {[t.name for t in threading.enumerate() if t not in threads]}",
    )
    if sys.platform == "linux":

        def left() -> dict[str, str]:
            return {n: what for n, what in descriptors().items() if files.get(n) != what}

        eventually(lambda: not left(), f"descriptors are closed: {left()}")


def answer_pings(server: hisock.HiSockServer) -> None:
    """Make a server one that :func:`serves` can ask."""

    @server.on("ping")
    def ping(client: hisock.ClientInfo, message: bytes) -> None:
        server.send_client(client, "pong", message)


def serves(server: hisock.HiSockServer) -> None:
    """A client that comes now is let in and answered."""
    with Peer(server.addr) as newcomer:
        newcomer.hello("newcomer")
        assert newcomer.ask("ping", "1", answer="pong").message == b"1"
