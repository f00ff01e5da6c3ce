"""hisock (this repository), on its public API only.

Usage: serve_hisock.py asyncio|uvloop compiled|python

The second word is what the framing core must turn out to be; anything else stops the run, so that
a missing extension is never measured by accident.
"""

import json
import sys
from importlib.metadata import version
from typing import Literal

import hisock
from hisock import ClientInfo, HiSockServer, framing

loop: Literal["asyncio", "uvloop"] = "uvloop" if sys.argv[1] == "uvloop" else "asyncio"
implementation = sys.argv[2]
if implementation != framing.IMPLEMENTATION:
    sys.exit(f"wanted the {implementation} framing core, got the {framing.IMPLEMENTATION} one")

versions = {"hisock": hisock.__version__}
if loop == "uvloop":
    versions["uvloop"] = version("uvloop")

server = HiSockServer(("127.0.0.1", 0), keepalive=False, announce="none", loop=loop)


@server.on("echo")
def echo(client: ClientInfo, message: bytes) -> None:
    server.send_client(client, "echo", message)


@server.on("all")
def broadcast(client: ClientInfo, message: bytes) -> None:
    server.send_all_clients("all", message)


@server.on("move")
def move(client: ClientInfo, message: bytes) -> None:
    server.send_group(client, "move", message)


print(json.dumps({"port": server.addr[1], "versions": versions}), flush=True)
server.start()
