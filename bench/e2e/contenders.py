"""Who takes part: name, server program, wire format, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from .places import CLIENTS, ROOT, SERVERS

Kind = Literal["ours", "peer", "floor"]
Role = str
"""What a server is asked to do: "echo" sends back, "all" to everybody, "move" to the sender's room;
"announced" sends back and tells everybody of each new client; others are kinds of handlers, see
servers/handlers.py."""


@dataclass(frozen=True)
class Contender:
    name: str
    title: str
    kind: Kind
    wire: Literal["raw", "hisock", "ws", "sio", "web"]
    server: str
    """File in the folder; one that ends in .c is compiled first."""
    environment: str
    """Whose Python runs it: a name in environments.REQUIREMENTS, or "hisock"."""
    arguments: tuple[str, ...] = ()
    """Passed to the server; "{role}" stands for the role."""
    variables: Mapping[str, str] = field(default_factory=dict)
    inflight: int = 64
    """Joins the generator may have under way at once."""
    players: int = 200
    """Where the search for the number of players begins; it goes up or down from there."""
    folder: Path = SERVERS
    """Where its program is: CLIENTS for one that connects."""
    writes: str = ""
    """When replies go to the socket: what makes or breaks a pipelined workload."""


def _hisock(
    name: str, title: str, loop: str, core: str, players: int, environment: str = "hisock"
) -> Contender:
    variables = {"HISOCK_PURE_PYTHON": "1"} if core == "python" else {}
    if environment != "hisock":
        variables["PYTHONPATH"] = str(ROOT)  # this tree, beside what only that environment has
    return Contender(
        name=name,
        title=title,
        kind="ours",
        wire="hisock",
        server="serve_hisock.py",
        environment=environment,
        arguments=(loop, core, "{role}"),
        variables=variables,
        players=players,
        writes="for others once per peer and iteration at the most; the reply to a read at once",
    )


CONTENDERS: tuple[Contender, ...] = (
    _hisock("hisock", "hisock, uvloop", "uvloop", "compiled", 2400),
    _hisock("hisock-asyncio", "hisock, asyncio", "asyncio", "compiled", 2000),
    _hisock(
        "hisock-aiofastnet",
        "hisock, aiofastnet",
        "aiofastnet",
        "compiled",
        2400,
        environment="aiofastnet",
    ),
    _hisock("hisock-python", "hisock, uvloop, Python core", "uvloop", "python", 1200),
    Contender(
        name="hisock202",
        title="hisock 2.0.2",
        kind="peer",
        wire="hisock",
        server="serve_hisock202.py",
        environment="hisock202",
        inflight=1,  # its listen backlog is 0: a SYN too many is dropped, and sent again after 1 s
        players=500,
        writes="one blocking send per message, Nagle's algorithm on",
    ),
    Contender(
        name="picows",
        title="picows, uvloop",
        kind="peer",
        wire="ws",
        server="serve_picows.py",
        environment="picows",
        arguments=("{role}",),
        players=320,
        writes="one send per message, at once",
    ),
    Contender(
        name="websockets",
        title="websockets, uvloop",
        kind="peer",
        wire="ws",
        server="serve_websockets.py",
        environment="websockets",
        arguments=("{role}",),
        players=200,
        writes="one transport.write per message; uvloop joins those of an iteration",
    ),
    Contender(
        name="socketio",
        title="python-socketio, uvicorn",
        kind="peer",
        wire="sio",
        server="serve_socketio.py",
        environment="socketio",
        arguments=("{role}",),
        players=60,
        writes="one queue and one transport.write per message",
    ),
    Contender(
        name="floor-c",
        title="floor: C epoll echo",
        kind="floor",
        wire="raw",
        server="floor_epoll.c",
        environment="",
        writes="one send per recv; bytes, not messages",
    ),
    Contender(
        name="floor-uvloop",
        title="floor: bytes echo, uvloop",
        kind="floor",
        wire="raw",
        server="floor_asyncio.py",
        environment="floors",
        arguments=("uvloop",),
        writes="one write per recv; bytes, not messages",
    ),
    Contender(
        name="floor-asyncio",
        title="floor: bytes echo, asyncio",
        kind="floor",
        wire="raw",
        server="floor_asyncio.py",
        environment="floors",
        arguments=("asyncio",),
        writes="one write per recv; bytes, not messages",
    ),
)

RELAY_FLOOR = Contender(
    name="floor-relay",
    title="floor: C epoll relay",
    kind="floor",
    wire="raw",
    server="floor_relay.c",
    environment="",
    arguments=("{role}",),
    players=4000,
    writes="one send per peer and loop iteration; no commands, no events",
)

TLS_FLOOR = Contender(
    name="floor-tls",
    title="floor: C epoll echo, OpenSSL",
    kind="floor",
    wire="raw",
    server="floor_tls.c",
    environment="",
    writes="one SSL_write per readable event; bytes, not messages",
)

CODERS = tuple(
    Contender(
        name=f"websockets-{library}",
        title=f"websockets + {library}, uvloop",
        kind="peer",
        wire="ws",
        server="serve_websockets.py",
        environment="websockets",
        arguments=("{role}", library),
        writes="one transport.write per message; uvloop joins those of an iteration",
    )
    for library in ("json", "msgspec", "orjson")
)


def _reached(name: str, title: str, engine: str, wire: Literal["hisock", "web"]) -> Contender:
    """hisock with ``websocket=``, by an engine."""
    ours = _hisock(name, title, "uvloop", "compiled", 2400)
    return replace(ours, wire=wire, variables={"BENCH_WEBSOCKET": engine})


REACHED = (
    _reached("hisock-sniffed", "hisock, TCP, WebSockets on", "picows", "hisock"),
    _reached("hisock-web", "hisock, WebSocket", "picows", "web"),
    _reached("hisock-web-websockets", "hisock, WebSocket, engine websockets", "websockets", "web"),
    Contender(
        name="aiohttp",
        title="aiohttp, uvloop",
        kind="peer",
        wire="ws",
        server="serve_aiohttp.py",
        environment="aiohttp",
        arguments=("{role}",),
        writes="one transport.write per message; uvloop joins those of an iteration",
    ),
)


def _client(
    name: str,
    title: str,
    wire: Literal["hisock", "ws", "sio"],
    environment: str,
    *arguments: str,
    writes: str,
) -> Contender:
    return Contender(
        name=name,
        title=title,
        kind="ours" if environment == "hisock" else "peer",
        wire=wire,
        server=f"client_{environment}.py",
        environment=environment,
        arguments=(*arguments, "{role}"),
        folder=CLIENTS,
        writes=writes,
    )


AT_ONCE = "one system call per message, at once"
CLIENT_PROGRAMS = (
    _client("blocking", "hisock, blocking", "hisock", "hisock", "blocking", writes=AT_ONCE),
    _client("threaded", "hisock, threaded", "hisock", "hisock", "threaded", writes=AT_ONCE),
    _client(
        *("async", "hisock, async, uvloop", "hisock", "hisock", "uvloop"),
        writes="once per iteration of the loop",
    ),
    _client(
        *("async-asyncio", "hisock, async, asyncio", "hisock", "hisock", "asyncio"),
        writes="once per iteration of the loop",
    ),
    _client("client-hisock202", "hisock 2.0.2", "hisock", "hisock202", writes=AT_ONCE),
    _client("client-picows", "picows, uvloop", "ws", "picows", writes=AT_ONCE),
    _client(
        *("client-websockets-sync", "websockets, sync", "ws", "websockets", "sync"),
        writes=AT_ONCE,
    ),
    _client(
        *("client-websockets", "websockets, uvloop", "ws", "websockets", "uvloop"),
        writes="one transport.write per message; uvloop joins those of an iteration",
    ),
    _client(
        *("client-socketio", "python-socketio, aiohttp, uvloop", "sio", "socketio"),
        writes="one queue and one transport.write per message",
    ),
)

BY_NAME = {
    c.name: c for c in (*CONTENDERS, RELAY_FLOOR, TLS_FLOOR, *CODERS, *REACHED, *CLIENT_PROGRAMS)
}
OURS = tuple(c.name for c in CONTENDERS if c.kind == "ours")
MODERN_PEERS = ("picows", "websockets", "socketio")
PEERS = (*MODERN_PEERS, "hisock202")
ECHOERS = tuple(contender.name for contender in CONTENDERS)
RELAYERS = (*OURS, *PEERS, RELAY_FLOOR.name)
OTHER_LOOPS = frozenset(("hisock-asyncio", "hisock-aiofastnet"))
