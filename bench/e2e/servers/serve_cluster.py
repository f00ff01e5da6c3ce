"""A game server of several processes, for bench.cluster.

Usage: serve_cluster.py WORKERS CLUSTER FOLDER: 0 workers are this process alone, CLUSTER is a URL
or "-". Each process writes what it has sent to others, and how often it wrote to a client, into the
folder.
"""

import json
import logging
import os
import sys
import time
from pathlib import Path

import hisock
from hisock import ClientInfo, HiSockServer

workers, url, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
server = HiSockServer(
    ("127.0.0.1", 0),
    keepalive=False,
    announce="none",
    workers=workers or None,
    cluster=None if url == "-" else url,
)


def is_no_reset(record: logging.LogRecord) -> bool:
    """The load generators end with frames unread, which resets each of their connections."""
    said = vars(record)
    if said.get("event") != "connection_ended":
        return True
    return said["kind"] != "reset" and not said["withheld"]


logging.getLogger("hisock.server").addFilter(is_no_reset)

if "apart" in sys.argv:  # rooms of another process are others, though they are called the same

    @server.authenticate
    def authenticate(request: hisock.JoinRequest) -> hisock.Accept:
        return hisock.Accept(group=f"{request.group}.{os.getpid()}")


@server.on("echo")
def echo(client: ClientInfo, message: bytes) -> None:
    server.send_client(client, "echo", message)


@server.on("all")
def broadcast(client: ClientInfo, message: bytes) -> None:
    server.send_all_clients("all", message)


@server.on("move")
def move(client: ClientInfo, message: bytes) -> None:
    server.send_group(client, "move", message)


@server.on("knows")
def knows(client: ClientInfo, name: str) -> bool:
    return any(one.name == name for one in server.get_all_clients())


@server.on("times")
async def times(client: ClientInfo, count: int) -> list[list[float]]:
    """The microseconds of calls to a client of this process, and to one of another."""
    found: dict[str, list[float]] = {"near": [], "far": []}
    for _ in range(count):
        for name, taken in found.items():
            begun = time.perf_counter()
            await server.call(name, "answer", "ping")
            taken.append((time.perf_counter() - begun) * 1e6)
    return list(found.values())


@server.every(1)  # oftener it would be a part of what is measured where little happens
def write_figures() -> None:
    cluster = server.stats().cluster
    figures = [0, 0, 0, 0]
    if cluster is not None:
        figures = [cluster.entries_out, cluster.batches_out, cluster.lost, cluster.missed]
    new = Path(folder, f"new-{os.getpid()}")
    new.write_text(json.dumps([*figures, server._hub.flushing.written]), "utf-8")
    new.replace(Path(folder, f"{os.getpid()}.json"))  # whole, whenever it is read


if not workers:
    print(f"Serving at {server.addr[0]}:{server.addr[1]} with 0 workers", flush=True)
server.start()
