# mypy: disable-error-code="attr-defined, no-untyped-def"
"""hisock 2.0.2 as published: serve_hisock.py without the options that it does not know.

It announces every join and cannot be told not to; keepalives are off. It waits in `select`, so it
ends at 1,024 descriptors, and reads a message with one `recv`, so it does not survive one of 1 MiB.
"""

import json
from importlib.metadata import version

from hisock.server import HiSockServer  # 2.0.2 when it runs; a type checker sees this tree

server = HiSockServer(("127.0.0.1", 0), keepalive=False)


@server.on("join")
def joined(client):
    """Without a join handler 2.0.2 stops with a KeyError at the first client."""


@server.on("echo")
def echo(client, message: bytes):
    server.send_client(client, "echo", message)


@server.on("all")
def broadcast(client, message: bytes):
    server.send_all_clients("all", message)


@server.on("move")
def move(client, message: bytes):
    server.send_group(client, "move", message)


port = server.socket.getsockname()[1]
print(json.dumps({"port": port, "versions": {"hisock": version("hisock")}}), flush=True)
server.start()
