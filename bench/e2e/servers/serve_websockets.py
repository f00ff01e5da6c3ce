# mypy: disable-error-code="import-not-found"
"""websockets, its asyncio server, on uvloop; no compression, no pings (as everywhere here).

Usage: serve_websockets.py echo|all|move|announced|struct|dict|floats [json|msgspec|orjson]

One role a process: its clients need no command in their messages, which spares it the routing that
hisock does.
Fan-out is its own `broadcast`, which builds a frame for each connection but awaits none.
"""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import messages
import msgspec
import orjson
import uvloop
from certificate import CONTEXT
from websockets.asyncio.server import ServerConnection, broadcast, serve

role = sys.argv[1]
everybody: set[ServerConnection] = set()
rooms: dict[str, set[ServerConnection]] = {}


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def announced(connection: ServerConnection) -> None:
    """Tells all connections of a new one, itself included, as hisock does."""
    ip, port = connection.remote_address
    everybody.add(connection)
    try:
        info = {"ip": [ip, port], "name": None, "group": None}
        broadcast(everybody, json.dumps(info).encode())
        await echo(connection)
    finally:
        everybody.discard(connection)


def coder() -> tuple[Callable[[str | bytes], Any], Callable[[Any], bytes]]:
    """What decodes and encodes messages, with the library that the last argument names."""
    if sys.argv[2] == "json":
        return json.loads, lambda value: json.dumps(value, separators=(",", ":")).encode()
    if sys.argv[2] == "orjson":
        return orjson.loads, orjson.dumps
    return msgspec.json.Decoder(messages.KINDS[role]).decode, msgspec.json.Encoder().encode


async def typed(connection: ServerConnection) -> None:
    decode, encode = coder()
    async for message in connection:
        await connection.send(encode(decode(message)))


async def relay(connection: ServerConnection) -> None:
    assert connection.request is not None
    peers = everybody if role == "all" else rooms.setdefault(connection.request.path, set())
    peers.add(connection)
    try:
        async for message in connection:
            broadcast(peers, message)
    finally:
        peers.discard(connection)


async def main() -> None:
    handler = {"echo": echo, "announced": announced}.get(role, relay)
    if role in messages.KINDS:
        handler = typed
    async with serve(
        handler,
        "127.0.0.1",
        0,
        ssl=CONTEXT,
        compression=None,
        ping_interval=None,
        max_size=16 * 1024 * 1024,
    ) as server:
        versions = {name: version(name) for name in ("websockets", "uvloop")}
        port = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps({"port": port, "versions": versions}), flush=True)
        await server.serve_forever()


uvloop.run(main())
