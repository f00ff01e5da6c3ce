"""What strangers can make a server hold, measured from outside: the bound that is documented."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Peer, command_frame, frame
from support.events import PATIENCE
from support.process import environment

MIB = 1024 * 1024
BOUND = 32 * MIB
PROGRAM = Path(__file__).parent / "programs" / "bounded_server.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


class Victim:
    """A server in a process of its own.

    :ivar addr: where it listens.
    :ivar seen: how many connections it has to have seen.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.seen = 0
        self._pid = process.pid
        assert process.stdout is not None
        self.addr = ("127.0.0.1", int(process.stdout.readline()))

    def peak(self) -> int:
        """Bytes of memory that it has occupied at most."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def join(self, closing: contextlib.ExitStack, name: str = "guest") -> Peer:
        peer = closing.enter_context(Peer(self.addr))
        peer.hello(name)
        peer.sock.settimeout(0.4)
        self.seen += 1
        return peer

    def account(self, watcher: Peer) -> Any:
        """What it says that it holds, once it has seen all that came and nothing more happens."""
        deadline = time.monotonic() + 2 * PATIENCE
        before = None
        while True:
            account = watcher.ask("account", answer="account").json
            if account["seen"] >= self.seen and account == before:
                return account
            assert time.monotonic() < deadline, account
            before = account


@pytest.fixture
def victim() -> Iterator[Victim]:
    command = [sys.executable, str(PROGRAM), str(BOUND)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True)
    try:
        yield Victim(process)
    finally:
        process.kill()
        process.communicate()


def write(peer: Peer, data: bytes) -> None:
    """Send as much as is taken, to a server that may stop reading, or end the connection."""
    with contextlib.suppress(OSError):
        peer.write(data)


def send_half_frames(victim: Victim, closing: contextlib.ExitStack) -> None:
    """Whole messages of 4 MiB, and after each half a frame of another client."""
    donor = victim.join(closing)
    donor.sock.settimeout(PATIENCE)
    for _ in range(60):
        donor.ask("take", bytes(4 * MIB - 16), answer="taken")
        write(victim.join(closing), frame(bytes(8 * MIB))[: 34 * 1024])


def send_half_frames_until_ended(victim: Victim, closing: contextlib.ExitStack) -> None:
    """Each goes beyond the bound, so that one that came before is ended for it."""
    for _ in range(40):
        write(victim.join(closing), frame(bytes(15 * MIB))[: 14 * MIB])


def send_commands_before_being_let_in(victim: Victim, closing: contextlib.ExitStack) -> None:
    for _ in range(12):
        write(victim.join(closing, "stranger"), frame(b"$CMD$" + b"x" * 8 * MIB) * 2)


def send_commands_behind_a_handler(victim: Victim, closing: contextlib.ExitStack) -> None:
    for _ in range(12):
        peer = victim.join(closing)
        write(peer, command_frame("busy") + frame(b"$CMD$" + b"x" * 8 * MIB) * 2)


def queue_for_threads_and_leave(victim: Victim, closing: contextlib.ExitStack) -> None:
    for _ in range(60):
        with contextlib.ExitStack() as leaving:
            write(victim.join(leaving), command_frame("block", bytes(MIB)) * 3)


def start_tasks_and_leave(victim: Victim, closing: contextlib.ExitStack) -> None:
    for _ in range(60):
        with contextlib.ExitStack() as leaving:
            write(victim.join(leaving), command_frame("task", b"x") * 1000)


ATTACKS = (
    send_half_frames,
    send_half_frames_until_ended,
    send_commands_before_being_let_in,
    send_commands_behind_a_handler,
    queue_for_threads_and_leave,
    start_tasks_and_leave,
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_server_holds_no_more_than_it_says(
    victim: Victim, attack: Callable[[Victim, contextlib.ExitStack], None]
) -> None:
    with contextlib.ExitStack() as closing:
        watcher = victim.join(closing)
        watcher.sock.settimeout(PATIENCE)
        watcher.ask("take", bytes(4 * MIB), answer="taken")
        before = victim.peak()
        attack(victim, closing)
        assert victim.account(watcher)["held"] <= BOUND
        assert victim.peak() - before <= BOUND + 32 * MIB


def test_what_clients_that_have_gone_left_behind_is_in_the_account(victim: Victim) -> None:
    with contextlib.ExitStack() as closing:
        watcher = victim.join(closing)
        watcher.sock.settimeout(PATIENCE)
        with victim.join(closing) as peer:
            peer.sock.settimeout(PATIENCE)
            peer.write(command_frame("block", bytes(MIB)) + command_frame("task", b"x"))
            peer.ask("take", b"1", answer="taken")
        peer.sock.close()
        with contextlib.suppress(socket.timeout):
            account = watcher.ask("account", answer="account").json
        assert account["memory"]["running"] > MIB
        assert account["memory"]["concurrent"] > 0
        assert account["held"] >= account["memory"]["running"] + account["memory"]["concurrent"]
