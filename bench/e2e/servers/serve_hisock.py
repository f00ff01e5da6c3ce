# mypy: disable-error-code="import-not-found"
"""hisock (this repository), on its public API only.

Usage: serve_hisock.py asyncio|uvloop|aiofastnet compiled|python ROLE

The second word is what the framing core must turn out to be; anything else stops the run, so that
a missing extension is never measured by accident. BENCH_WEBSOCKET names an engine: WebSockets are
taken on the same port then.
"""

import contextlib
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import handlers
from certificate import PAIR

import hisock
from hisock import ClientInfo, HiSockServer, framing

loop: Literal["asyncio", "uvloop"] = "asyncio" if sys.argv[1] == "asyncio" else "uvloop"
implementation = sys.argv[2]
if implementation != framing.IMPLEMENTATION:
    sys.exit(f"wanted the {implementation} framing core, got the {framing.IMPLEMENTATION} one")

versions = {"hisock": hisock.__version__}
if loop == "uvloop":
    versions["uvloop"] = version("uvloop")

if PAIR:
    with contextlib.suppress(PackageNotFoundError):
        versions["aiofastnet"] = version("aiofastnet")

engine: Any = os.environ.get("BENCH_WEBSOCKET")
if engine:
    versions[engine] = version(engine)

announce: Literal["all", "none"] = "all" if sys.argv[3] == "announced" else "none"
codec = "msgpack" if sys.argv[3].endswith("-msgpack") else "json"
server = HiSockServer(
    ("127.0.0.1", 0),
    keepalive=False,
    announce=announce,
    loop=loop,
    codec=codec,
    ssl=PAIR,
    websocket=hisock.WebSocket(engine=engine) if engine else None,
)


handlers.KINDS.get(sys.argv[3], handlers.plain)(server)


@server.on("all")
def broadcast(client: ClientInfo, message: bytes) -> None:
    server.send_all_clients("all", message)


@server.on("move")
def move(client: ClientInfo, message: bytes) -> None:
    server.send_group(client, "move", message)


if sys.argv[1] == "aiofastnet":
    import asyncio

    import aiofastnet
    import uvloop

    class FastLoop(uvloop.Loop):
        """uvloop with the transports of aiofastnet for what hisock has accepted."""

        async def connect_accepted_socket(self, *args: Any, **options: Any) -> Any:
            return await aiofastnet.connect_accepted_socket(self, *args, **options)

    versions["aiofastnet"] = version("aiofastnet")

print(json.dumps({"port": server.addr[1], "versions": versions}), flush=True)
if sys.argv[1] == "aiofastnet":
    runner = FastLoop()
    asyncio.set_event_loop(runner)
    runner.run_until_complete(server.serve())
else:
    server.start()
