"""The server of ``python -m soak.attacks``: it serves good clients while others attack it.

Each line of its standard input is a question, answered by one line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import json
import logging
import secrets
import sys
import threading
import time
from collections import Counter

import hisock

MAX_BUFFERED = 64 * 1024 * 1024
SEND_BUFFER = 256 * 1024
#: Messages a second of one client, and at once, where that is what is attacked.
RATE = (400.0, 20_000.0)
HELLO_SECONDS = 5.0
#: Rooms that a client may be in, as the program has it.
MOST_ROOMS = 64


@dataclasses.dataclass
class Order:
    """A message of which clients choose the names of the fields."""

    item: str
    count: int


def make_server(
    loop: str, limited: bool, violations: list[str], counts: Counter[str], engine: str = "auto"
) -> hisock.HiSockServer:
    server = hisock.ThreadedHiSockServer(
        ("127.0.0.1", 0),
        max_buffered=MAX_BUFFERED,
        send_buffer=SEND_BUFFER,
        max_connections=1500,
        rate_limit=RATE if limited else None,
        hello_timeout=HELLO_SECONDS,
        hide_addresses=True,
        announce="none",
        websocket=hisock.WebSocket(engine=engine),  # type: ignore[arg-type]
        admin_token=secrets.token_hex(),
        loop=loop,  # type: ignore[arg-type]
    )
    _wire_admission(server, violations)
    _wire_handlers(server, violations, counts)
    return server


def _wire_admission(server: hisock.HiSockServer, violations: list[str]) -> None:
    accounts = {"good": "good"}

    @server.authenticate
    async def authenticate(request: hisock.JoinRequest) -> bool:
        if request.addr[0] == "unix":
            violations.append("a TCP client was taken for one of a Unix socket")
        if request.name == "pending":
            await asyncio.sleep(3600)
        if request.name == "cancelled":
            raise asyncio.CancelledError
        if request.token is not None:
            # What has no account raises a KeyError with the token in it.
            return accounts[request.token] == "good"
        return True

    @server.authorize_change
    def authorize_change(name: str | None) -> bool:
        return name != "admin"


def _wire_handlers(
    server: hisock.HiSockServer, violations: list[str], counts: Counter[str]
) -> None:
    @server.on("say")
    def say(client: hisock.ClientInfo, message: bytes) -> None:
        if client.name == "admin":
            violations.append("somebody renamed himself to admin")
        # By the text of the address, so that a name that looks like it would be found.
        server.send_client(client.ip, "said", message)

    @server.on("to")
    def to(client: hisock.ClientInfo, ip: str) -> None:
        with contextlib.suppress(hisock.ClientNotFound, ValueError):
            server.send_client(ip, "secret", b"for the one who left")

    @server.on("who")
    def who(client: hisock.ClientInfo) -> str:
        server.send_client(client, "who", client.ip)
        return client.ip

    @server.on("count")
    def count(client: hisock.ClientInfo) -> None:
        counts["count"] += 1

    @server.on("order")
    def order(client: hisock.ClientInfo, message: Order) -> int:
        return message.count

    @server.on("block", threaded=True)
    def block(client: hisock.ClientInfo, message: bytes) -> None:
        threading.Event().wait(3)

    @server.on("task", concurrent=True)
    async def task(client: hisock.ClientInfo, message: bytes) -> None:
        await asyncio.sleep(3)

    @server.on("busy")
    async def busy(client: hisock.ClientInfo, message: bytes) -> None:
        await asyncio.sleep(3)

    @server.on("map")
    def map_(client: hisock.ClientInfo) -> bytes:
        return bytes(8192)

    @server.on("rows")
    def rows(client: hisock.ClientInfo):  # type: ignore[no-untyped-def]
        for _ in range(1_000_000):
            yield bytes(1024)

    @server.on("enter")
    def enter(client: hisock.ClientInfo, room: str) -> int:
        # A client that is in as many rooms as it may leaves one of them.
        rooms = server.rooms(client)
        if len(rooms) >= MOST_ROOMS:
            server.leave_room(client, rooms.pop())
        server.join_room(client, room)
        return server.send_room(room, "entered", exclude=client)

    @server.on("exit")
    def exit_(client: hisock.ClientInfo, room: str) -> None:
        server.leave_room(client, room)

    @server.every(0.1)
    def news() -> None:
        counts["news"] += 1
        for client in server.get_all_clients():
            if client.name is not None and client.name.startswith("good"):
                server.send_client(client, "news", counts["news"])


class Collections:
    """Measures how long Python's garbage collections take, which hold everybody up."""

    def __init__(self) -> None:
        self._began = 0.0
        self._seconds: list[list[float]] = [[], [], []]
        self._found = 0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            self._seconds[info["generation"]].append(time.thread_time() - self._began)
            self._found += info["collected"]

    def figures(self) -> dict[str, float]:
        """Milliseconds of CPU time and numbers, since the last time."""
        seconds, self._seconds = self._seconds, [[], [], []]
        found, self._found = self._found, 0
        told: dict[str, float] = {"found": found}
        for generation, each in enumerate(seconds):
            told[f"{generation}"] = len(each)
            told[f"max {generation}"] = round(1000 * max(each, default=0.0), 1)
        return told


class Turns:
    """Measures what CPU time the loop takes between two short ticks, beyond their interval.

    That is how long a turn of the loop keeps everybody waiting, also on a machine that is busy.
    """

    INTERVAL = 0.005

    def __init__(self) -> None:
        self._last = 0.0
        self._seconds: list[float] = []

    def tick(self) -> None:
        before, self._last = self._last, time.thread_time()
        self._seconds.append(max(0.0, self._last - before - self.INTERVAL))

    def figures(self) -> dict[str, float]:
        """In milliseconds, since the last time."""
        seconds, self._seconds = sorted(self._seconds), []
        if not seconds:
            return {"p99": 0.0, "max": 0.0}
        p99 = seconds[min(int(0.99 * len(seconds)), len(seconds) - 1)]
        return {"p99": round(1000 * p99, 1), "max": round(1000 * seconds[-1], 1)}


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="log %(levelname)s %(message)s")
    violations: list[str] = []
    counts: Counter[str] = Counter()
    server = make_server(sys.argv[1], sys.argv[2] == "limited", violations, counts, *sys.argv[3:])
    turns, collections = Turns(), Collections()
    server.every(turns.INTERVAL)(turns.tick)
    server.start()
    # As docs/howto/pauses.md says: what there is from the beginning is collected no more.
    gc.collect()
    gc.freeze()
    print(json.dumps({"port": server.addr[1]}), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        stats = dataclasses.asdict(server.stats())
        told = {
            "stats": stats,
            "violations": violations,
            "counts": counts,
            "turns": turns.figures(),
            "collections": collections.figures(),
        }
        print(json.dumps(told), flush=True)
    server.close()


if __name__ == "__main__":
    main()
