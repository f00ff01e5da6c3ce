"""Instructions of the servers of a cluster for each delivery, against those of one server.

    python -m bench.instructions.cluster

Two servers run in one thread, on uvloop. 25 messages come at once, so each batch holds 25, and each
write to a client too: all kinds do the same work in each iteration, whatever else the machine does.
Half of the clients are of the other server; with "apart", none. The "2 servers" know nothing of
each other: each has half of the clients, and one of them sends as much as the one of the other
kinds, so that each client gets as much. What the kernel and brokers do is not counted; what the
clients here do is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

import uvloop
from support.brokers import Broker

from hisock import ClientInfo, Cluster, HiSockServer, framing
from hisock._cluster import nats, node, redis
from hisock._runtime import watchdog

from . import counting, marks

#: Messages in a batch: about as many as under load.
BATCH = 25
ROUNDS = 40
#: Kinds of servers, and the broker of each.
KINDS = {
    "1 server": "",
    "2 servers": "",
    "apart": "",
    "local": "",
    "NATS": "nats-newest",
    "Redis": "redis",
}
#: Those that know of no other.
ALONE = ("1 server", "2 servers")
CLOCKS = {
    node: ("BEAT", "PROBE"),
    redis: ("_BUSY_INTERVAL", "_PING_SECONDS"),
    nats: ("_BUSY_INTERVAL", "_LAG_INTERVAL"),
}
#: Receivers of each message.
RECEIVERS = {"move": 20, "all": 100}
HELLO = framing.build_raw(b'$CLTHELLO${"name": null, "group": "room"}')


def register(server: HiSockServer) -> None:
    @server.on("move")
    def move(client: ClientInfo, message: bytes) -> None:
        server.send_group(client, "move", message)

    @server.on("all")
    def broadcast(client: ClientInfo, message: bytes) -> None:
        server.send_all_clients("all", message)


async def connect(server: HiSockServer) -> socket.socket:
    client = socket.create_connection(server.addr)
    client.setblocking(False)
    client.sendall(HELLO)
    return client


async def receive(client: socket.socket, size: int, into: bytearray) -> None:
    """Wait until so many bytes have come."""
    loop = asyncio.get_running_loop()
    while size:
        size -= await loop.sock_recv_into(client, into)


async def work(counter: marks.Marks, name: str, url: str, command: str) -> None:
    """Count the deliveries of one kind of servers, n and 2n times."""
    async with contextlib.AsyncExitStack() as stack:
        servers = []
        for _ in range(1 if name == "1 server" else 2):
            cluster = None if name in ALONE else Cluster(url, dead_after=3600)
            server = HiSockServer(
                ("127.0.0.1", 0), keepalive=False, announce="none", cluster=cluster
            )
            register(server)
            servers.append(await stack.enter_async_context(server))
        members = RECEIVERS[command]
        homes = servers[:1] if name == "apart" else servers
        clients = [await connect(homes[i * len(homes) // members]) for i in range(members)]
        size = members // len(servers) if name in ALONE else members
        crowds = [clients[at : at + size] for at in range(0, members, size)]
        while any(len(server) < size for server in servers):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        buffer = bytearray(262144)
        for client in clients:
            with contextlib.suppress(BlockingIOError):
                client.recv_into(buffer)
        frame = framing.build_command(command, b"x" * 64)
        for rounds in (3, ROUNDS, 2 * ROUNDS):
            counter.zero()
            for _ in range(rounds):
                for crowd in crowds:
                    crowd[0].sendall(frame * BATCH)
                for crowd in crowds:
                    await receive(crowd[-1], len(frame) * BATCH, buffer)
                    for client in crowd[:-1]:  # they were written to before
                        assert client.recv_into(buffer) == len(frame) * BATCH
            if rounds >= ROUNDS:
                counter.dump(f"{name}/{command} {rounds // ROUNDS}")
        for client in clients:
            client.close()


def _child(library: str, name: str, url: str) -> None:
    # What happens by the clock would count some 50 times too much: callgrind is that slow.
    watchdog.INTERVAL = 3600.0
    for module, names in CLOCKS.items():
        vars(module).update(dict.fromkeys(names, 3600.0))
    counter = marks.Marks(library)
    for command in RECEIVERS:
        uvloop.run(work(counter, name, url, command))


def count() -> dict[str, float]:
    """Instructions a delivery, by kind and command."""
    with tempfile.TemporaryDirectory(prefix="hisock-bench-") as scratch:
        folder = Path(scratch)
        library = marks.build(folder)
        for name, kind in KINDS.items():
            with contextlib.ExitStack() as stack:
                place = folder / name.replace(" ", "-")
                place.mkdir(0o700)
                url = f"local:{place}"
                if kind:
                    broker = Broker(kind, place)
                    stack.callback(broker.kill)
                    url = broker.url
                _run(folder, str(library), name, url)
        totals = counting.totals_in(folder)
    return {
        f"{name}/{command}": (totals[f"{name}/{command} 2"] - totals[f"{name}/{command} 1"])
        / (ROUNDS * BATCH * members)
        for name in KINDS
        for command, members in RECEIVERS.items()
    }


def _run(folder: Path, library: str, name: str, url: str) -> None:
    out = folder / f"out-{name.replace(' ', '-')}"
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
    command += [f"--callgrind-out-file={out}", sys.executable, "-m", __spec__.name]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run(
        [*command, library, name, url],
        env=environment,
        check=True,
        timeout=300,
        stderr=subprocess.DEVNULL,
    )


def main() -> None:
    if len(sys.argv) > 1:
        _child(*sys.argv[1:])
        return
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed, nothing was counted")
    counts = count()
    for command in RECEIVERS:
        print(f"\n{command}")
        for name in KINDS:
            value = counts[f"{name}/{command}"]
            print(f"  {name:<10} {value:8,.0f}  {value / counts[f'1 server/{command}']:.2f}")


if __name__ == "__main__":
    main()
