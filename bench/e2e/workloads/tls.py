"""TLS: what a message, a handshake and an idle client cost the server.

The clients are sockets of Python's ssl, in this process: they are slower than a generator in C, so
that what is measured is the time that the server computes, not how many messages come back.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..contenders import TLS_FLOOR, Contender
from ..places import CACHE, BenchError
from ..processes import Server
from .base import Bench, Measurement, Workload

BATCH = 512
HANDSHAKES = 6
IDLE = 100
PEERS = ("picows", "websockets")
ROUND_TRIPS = 200
WARM_UP = 50
BATCHES = 3
#: Few enough for all contenders to hold them.
PLAYERS = 100
MESSAGE = b"x" * 64


def _certificate() -> Path:
    """A self-signed certificate for localhost, with its key, made once."""
    path = CACHE / "localhost.pem"
    if not path.exists():
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650", "-subj"]
        command += ["/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        command += ["-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"openssl failed: {done.stderr}")
        with path.open("a") as file:
            file.write(path.with_suffix(".crt").read_text())
    return path


class Client:
    """One connection over TLS that speaks a server's wire format."""

    def __init__(self, wire: str, port: int, session: ssl.SSLSession | None = None) -> None:
        self.wire = wire
        context = CONTEXTS.setdefault(port, ssl.create_default_context(cafile=_certificate()))
        raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = context.wrap_socket(raw, server_hostname="localhost", session=session)
        if wire in ("ws", "web"):
            self._upgrade()
        if wire in ("hisock", "web"):
            hello = _framed(b'$CLTHELLO${"name": null, "group": null}')
            self.sock.sendall(_message(hello) if wire == "web" else hello)
        self.echo(1)

    def _upgrade(self) -> None:
        self.sock.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.sock.recv(4096)

    def echo(self, count: int) -> None:
        """Send some messages at once, and await all of them."""
        frame = _framed(b"$CMD$echo$MSG$" + MESSAGE)
        if self.wire == "ws":
            request, reply = _message(MESSAGE), b"\x82" + bytes([len(MESSAGE)]) + MESSAGE
        else:
            request, reply = _message(frame) if self.wire == "web" else frame, frame
        self.sock.sendall(request * count)
        left = len(reply) * count
        while left:
            left -= self._carried() if self.wire == "web" else len(self._receive(left))

    def _receive(self, most: int) -> bytes:
        got = self.sock.recv(min(most, 262144))
        if not got:
            raise BenchError("the server closed the connection")
        return got

    def _carried(self) -> int:
        """Take one WebSocket message of a server that cuts its stream; how many bytes it had."""
        head = self._exactly(2)
        size = head[1]
        if size >= 126:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        self._exactly(size)
        return size

    def _exactly(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            got += self._receive(size - len(got))
        return got


CONTEXTS: dict[int, ssl.SSLContext] = {}


def _framed(payload: bytes) -> bytes:
    return str(len(payload)).encode().ljust(16) + payload


def _message(payload: bytes) -> bytes:
    """A WebSocket message of less than 126 bytes, masked with zeros."""
    return b"\x82" + bytes([0x80 | len(payload)]) + bytes(4) + payload


@contextmanager
def _clients(contender: Contender, port: int, count: int) -> Iterator[list[Client]]:
    clients: list[Client] = []
    try:
        for _ in range(count):
            clients.append(Client(contender.wire, port))  # noqa: PERF401 - closed if one fails
        yield clients
    finally:
        for client in clients:
            client.sock.close()


def _cpu(server: Server) -> float:
    """Seconds that the server has computed."""
    tasks = Path(f"/proc/{server.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _cpu_at_rest(server: Server) -> float:
    """The same once it has ended the connections of before."""
    seconds = _cpu(server)
    for _ in range(100):
        time.sleep(0.005)
        before, seconds = seconds, _cpu(server)
        if seconds == before:
            break
    return seconds


def _messages(server: Server, client: Client) -> dict[str, float]:
    client.echo(BATCH)
    for _ in range(WARM_UP):
        client.echo(1)
    began = _cpu(server)
    for _ in range(ROUND_TRIPS):
        client.echo(1)
    single = _cpu(server)
    for _ in range(BATCHES):
        client.echo(BATCH)
    ended = _cpu(server)
    return {
        "single_us": (single - began) / ROUND_TRIPS * 1e6,
        "batched_us": (ended - single) / BATCHES / BATCH * 1e6,
    }


def _handshakes(server: Server, contender: Contender, resumed: bool) -> float:
    """Server time of a join, in ms."""
    with _clients(contender, server.port, 1) as (first,):
        session = first.sock.session if resumed else None
        began = _cpu_at_rest(server)
        for _ in range(HANDSHAKES):
            client = Client(contender.wire, server.port, session)
            if resumed and not client.sock.session_reused:
                raise BenchError("the server does not resume sessions")
            session = client.sock.session if resumed else None
            client.sock.close()
        return (_cpu_at_rest(server) - began) / HANDSHAKES * 1e3


def _memory(server: Server, contender: Contender) -> float:
    """KiB of an idle client."""
    with _clients(contender, server.port, 50):
        before = server.resident()
        with _clients(contender, server.port, IDLE):
            return (server.resident() - before) / IDLE / 1024


def _secured(contender: Contender) -> Contender:
    return replace(contender, variables={**contender.variables, "BENCH_TLS": str(_certificate())})


@contextmanager
def _held(bench: Bench, contender: Contender) -> Iterator[Callable[[], Measurement]]:
    secured = _secured(contender)
    with bench.serving(secured) as server, _clients(secured, server.port, 1) as (client,):
        memory = _memory(server, secured)

        def measure() -> Measurement:
            with _on_core(bench.machine.generator_core):
                details = _messages(server, client)
                details["join_ms"] = _handshakes(server, secured, resumed=False)
                details["resumed_ms"] = _handshakes(server, secured, resumed=True)
            return Measurement(details["single_us"], {**details, "memory": memory})

        yield measure


@contextmanager
def _on_core(core: int | None) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _to_many(bench: Bench, contender: Contender) -> Measurement:
    """Server time of a delivery; generators in C, since there are so many receivers."""
    secured = _secured(contender)
    with bench.serving(secured, "all") as server:
        to_all = bench.generate(
            secured, server, "broadcast", size=64, conns=100, outstanding=32, tls=True
        )
    with bench.serving(secured, "move") as server:
        moves = bench.generate(
            secured,
            server,
            "players",
            conns=PLAYERS,
            size=32,
            rate=10,
            room_size=20,
            seconds=bench.settings.player_seconds,
            tls=True,
        )
    details = {
        "rate": to_all["rate"],
        "move_us": moves["server_cpu"] * moves["seconds"] / moves["deliveries"] * 1e6,
        "p99_ms": moves["p99_ms"],
    }
    return Measurement(to_all["server_cpu"] / to_all["rate"] * 1e6, details)


TLS = Workload(
    name="tls",
    title="TLS: server time of a 64 B echo, one at a time; in batches of 512; of a join",
    unit="µs",
    better="less",
    references=("picows", "websockets"),
    contenders=(
        *("hisock", "picows", "hisock-asyncio", "hisock-web", "websockets"),
        TLS_FLOOR.name,
    ),
    hold=_held,
    columns=(
        ("batched_us", "µs in batches"),
        ("join_ms", "ms a join"),
        ("resumed_ms", "resumed"),
        ("memory", "KiB a client"),
    ),
    only_full=frozenset(),
)

TO_MANY = Workload(
    name="tls-many",
    title=f"TLS: server time of a delivery, one to 100 clients; {PLAYERS} players in rooms of 20",
    unit="µs",
    better="less",
    references=("picows", "websockets"),
    contenders=("hisock", "hisock-asyncio", *PEERS),
    measure=_to_many,
    columns=(("rate", "deliveries/s"), ("move_us", "µs a move"), ("p99_ms", "p99 ms")),
    weight="search",
    only_full=frozenset(),
)
