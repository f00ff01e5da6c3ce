"""``python -m soak.slow``: clients that never read, beside clients that must not notice.

A server broadcasts messages of 1 KiB to all, as fast as those that read can take it: at most
:data:`WINDOW` broadcasts are on their way at a time. Says how much memory the server needed, what
became of those that do not read, and how long broadcasts took to those that do. Exits with status 1
if one was lost, if memory was not bounded, or with ``--p99`` if they took longer than that, which
says something only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import resource
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

import hisock
from soak.children import Child
from soak.watching import Sample

SIZE = 1024
WINDOW = 32
#: What a read takes from a socket at most.
CHUNK = 1 << 18
HELLO = b'$CLTHELLO${"name": null, "group": null}'


def frame(payload: bytes) -> bytes:
    return str(len(payload)).encode().ljust(16) + payload


#: A broadcast: the numbers are at fixed places, so that a reader costs little.
PREFIX = frame(b"$CMD$news$MSG$" + b"x" * SIZE)[: 16 + len(b"$CMD$news$MSG$")]
LENGTH = len(PREFIX) + SIZE


# -- the server, in a process of its own


def serve(seconds: float, send_buffer: int) -> None:
    logging.basicConfig(level=logging.ERROR)
    server = hisock.HiSockServer(
        ("127.0.0.1", 0), announce="none", send_buffer=send_buffer, keepalive=False
    )
    taken = 0

    @server.on("taken")
    def on_taken(client: hisock.ClientInfo, number: int) -> None:
        nonlocal taken
        taken = number

    async def broadcast() -> int:
        """Returns how many broadcasts there were."""
        number = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while number - taken < WINDOW:
                number += 1
                stamp = b"%012d%020d" % (number, time.monotonic_ns())
                server.send_all_clients("news", stamp.ljust(SIZE, b"."))
            await asyncio.sleep(0)
        while taken < number:  # noqa: ASYNC110 - nothing else waits here
            await asyncio.sleep(0.01)
        return number

    async def main() -> None:
        loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(server.serve())
        print(json.dumps({"port": server.addr[1]}), flush=True)
        expected = int(await loop.run_in_executor(None, sys.stdin.readline))
        while len(server) < expected:  # noqa: ASYNC110 - as before
            await asyncio.sleep(0.01)
        sent = await broadcast()
        stats = server.stats()
        told = {"sent": sent, "ended": stats.ended, "clients": stats.clients}
        print(json.dumps(told), flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        server.close()
        await serving

    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    asyncio.run(main())


# -- its clients


@dataclass
class Reader:
    sock: socket.socket
    buffer: bytearray = field(default_factory=bytearray)
    got: int = 0

    def read(self, latencies: list[int]) -> None:
        self.buffer += self.sock.recv(CHUNK)
        now = time.monotonic_ns()
        at = 0
        while len(self.buffer) - at >= LENGTH:
            body = at + len(PREFIX)
            if self.buffer[at:body] != PREFIX:
                raise AssertionError(f"not a broadcast: {bytes(self.buffer[at : at + 60])!r}")
            number = int(self.buffer[body : body + 12])
            if number != self.got + 1:
                raise AssertionError(f"broadcast {number} came after {self.got}")
            self.got = number
            latencies.append(now - int(self.buffer[body + 12 : body + 32]))
            at += LENGTH
        del self.buffer[:at]


def connect(port: int, deaf: bool) -> socket.socket:
    sock = socket.socket()
    if deaf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(frame(HELLO))
    return sock


@dataclass(frozen=True)
class Outcome:
    """What a run came to; times in milliseconds, memory in MiB."""

    broadcasts: int
    seconds: float
    readers: int
    deaf: int
    slow: int
    left: int
    p50: float
    p99: float
    most: float
    grew: float

    def __str__(self) -> str:
        deliveries = self.broadcasts * self.readers
        return (
            f"{self.readers} read, {self.deaf} never do: {self.broadcasts:,} broadcasts of {SIZE} "
            f"bytes in {self.seconds:.0f} s\n"
            f"to those that read: {deliveries:,} deliveries, none lost; "
            f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms, latest {self.most:.1f} ms\n"
            f"those that do not: {self.slow} were disconnected\n"
            f"memory of the server: grew by {self.grew:.0f} MiB at most"
        )


def run(seconds: float, readers: int, deaf: int, send_buffer: int) -> Outcome:
    """One run.

    :raises AssertionError: one that reads was not sent every broadcast once and in order.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        Child(
            "soak.slow", "--serve", "--seconds", str(seconds), "--send-buffer", str(send_buffer)
        ) as server,
        contextlib.ExitStack() as stack,
    ):
        port = server.answer()["port"]
        for _ in range(deaf):
            stack.enter_context(connect(port, deaf=True))
        every = [Reader(stack.enter_context(connect(port, deaf=False))) for _ in range(readers)]
        before = Sample.of(server.pid, 0.0).memory
        latencies: list[int] = []
        began = time.monotonic()
        server.tell(str(deaf + readers))
        most = _read(every, latencies, server, began + seconds)
        told = server.answer()
        for reader in every:
            if reader.got != told["sent"]:
                raise AssertionError(f"{reader.got} of {told['sent']} broadcasts came")
        server.tell("end")
        server.wait(30)
    latencies.sort()

    def at(part: float) -> float:
        return latencies[min(int(len(latencies) * part), len(latencies) - 1)] / 1e6

    return Outcome(
        told["sent"],
        seconds,
        readers,
        deaf,
        told["ended"].get("slow", 0),
        told["clients"],
        at(0.5),
        at(0.99),
        at(1.0),
        (most - before) / 2**20,
    )


def _read(every: list[Reader], latencies: list[int], server: Child, end: float) -> int:
    """Read until nothing comes any more; returns the most memory that the server had."""
    selector = selectors.DefaultSelector()
    for reader in every:
        selector.register(reader.sock, selectors.EVENT_READ, reader)
    most, look, told = 0, 0.0, 0
    while True:
        ready = selector.select(0.5)
        now = time.monotonic()
        if not ready and now > end:
            selector.close()
            return most
        for key, _ in ready:
            key.data.read(latencies)
        taken = min(reader.got for reader in every)
        if taken > told:
            told = taken
            every[0].sock.sendall(frame(b"$CMD$taken$MSG$%d" % taken))
        if now > look:
            look = now + 0.05
            most = max(most, Sample.of(server.pid, 0.0).memory)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak.slow", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--deaf", type=int, default=200)
    parser.add_argument("--send-buffer", type=int, default=4 * 1024 * 1024)
    parser.add_argument("--p99", type=float, default=float("inf"), help="milliseconds at most")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.seconds, arguments.send_buffer)
        return 0
    outcome = run(arguments.seconds, arguments.readers, arguments.deaf, arguments.send_buffer)
    print(outcome)
    bounded = outcome.grew * 2**20 < 1.5 * outcome.deaf * arguments.send_buffer
    return 0 if bounded and outcome.p99 <= arguments.p99 and outcome.left >= outcome.readers else 1


if __name__ == "__main__":
    sys.exit(main())
