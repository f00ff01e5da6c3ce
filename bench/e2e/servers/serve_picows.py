# mypy: disable-error-code="import-not-found", disallow-subclassing-any=False
"""picows, its core API (the fast one), on uvloop, with its defaults.

Usage: serve_picows.py echo|all|move|announced|struct|dict|floats

One role a process: its clients need no command in their messages, which spares it the routing that
hisock does.
"""

import json
import sys
from importlib.metadata import version
from typing import Any

import messages
import msgspec
import picows
import uvloop
from certificate import CONTEXT
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest

role = sys.argv[1]
everybody: set[WSTransport] = set()
rooms: dict[bytes, set[WSTransport]] = {}


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send(frame.msg_type, frame.get_payload_as_bytes())


class Typed(WSListener):
    """Decodes each message with msgspec, as hisock does, and sends the value back."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.decode = msgspec.json.Decoder(kind).decode
        self.encode = msgspec.json.Encoder().encode

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        value = self.decode(frame.get_payload_as_bytes())
        transport.send(frame.msg_type, self.encode(value))


class Relay(WSListener):
    """Hands every message to all connections in `peers`, its own included."""

    def __init__(self, peers: set[WSTransport]) -> None:
        super().__init__()
        self.peers = peers

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.peers.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        msg_type, message = frame.msg_type, frame.get_payload_as_bytes()
        for peer in self.peers:
            peer.send(msg_type, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.peers.discard(transport)


class Announced(Echo):
    """Tells all connections of a new one, itself included, as hisock does."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        ip, port = transport.underlying_transport.get_extra_info("peername")
        everybody.add(transport)
        message = json.dumps({"ip": [ip, port], "name": None, "group": None}).encode()
        for peer in everybody:
            peer.send(WSMsgType.BINARY, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        everybody.discard(transport)


def listener(request: WSUpgradeRequest) -> WSListener:
    if role == "echo":
        return Echo()
    if role in messages.KINDS:
        return Typed(messages.KINDS[role])
    if role == "announced":
        return Announced()
    return Relay(everybody if role == "all" else rooms.setdefault(request.path, set()))


async def main() -> None:
    server = await picows.ws_create_server(listener, "127.0.0.1", 0, ssl=CONTEXT)
    versions = {name: version(name) for name in ("picows", "aiofastnet", "uvloop")}
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "versions": versions}), flush=True)
    await server.serve_forever()


uvloop.run(main())
