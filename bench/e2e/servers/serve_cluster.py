"""A game server of several processes, for bench.cluster.

Usage: serve_cluster.py WORKERS CLUSTER: 0 workers are this process alone, CLUSTER is a URL or "-".
"""

import os
import sys

import hisock
from hisock import ClientInfo, HiSockServer

workers, url = int(sys.argv[1]), sys.argv[2]
server = HiSockServer(
    ("127.0.0.1", 0),
    keepalive=False,
    announce="none",
    workers=workers or None,
    cluster=None if url == "-" else url,
)

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


if not workers:
    print(f"Serving at {server.addr[0]}:{server.addr[1]} with 0 workers", flush=True)
server.start()
