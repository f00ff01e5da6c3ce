"""The servers of :mod:`soak.cluster`, and a client of each that hears what all of them send."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from soak.children import Child
from soak.wire import hello_frame

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.brokers import ROOT, Broker

#: Seconds in which whatever has to happen happens, on a machine that has much else to do.
PATIENCE = 30.0


async def until(what: str, holds: Callable[[], bool | Awaitable[bool]]) -> float:
    """Wait until something is so; returns how many seconds that took."""
    begun = time.monotonic()
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return time.monotonic() - begun
        if time.monotonic() - begun > PATIENCE:
            raise AssertionError(f"it did not happen in {PATIENCE:g} s that {what}")
        await asyncio.sleep(0.005)


class Ear(asyncio.Protocol):
    """A client that writes down the numbers it hears: by sender, with the moments."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.heard: dict[str, list[tuple[int, int, int]]] = {}
        self.ended = False
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(hello_frame(self.name))

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True

    def data_received(self, data: bytes) -> None:
        received, start, now = self._received, 0, time.monotonic_ns()
        received += data
        while len(received) - start >= 16:
            end = start + 16 + int(received[start : start + 16])
            if end > len(received):
                break
            payload = bytes(received[start + 16 : end])
            if payload.startswith(b"$CMD$n$MSG$"):
                node, number, sent, _ = payload[11:].split(b" ", 3)
                self.heard.setdefault(node.decode(), []).append((int(number), int(sent), now))
            start = end
        del received[:start]

    def numbers(self, node: str) -> list[int]:
        return [number for number, _, _ in self.heard.get(node, ())]

    def ages(self, node: str, since: int = 0) -> list[float]:
        """Milliseconds that messages took which came since then."""
        return [(now - sent) / 1e6 for _, sent, now in self.heard.get(node, ()) if now >= since]


class Member:
    """A server in a process of its own."""

    def __init__(self, url: str, *options: str) -> None:
        self.child = Child("soak.cluster_node", url, *options)
        self.alive = True
        self.stopped = False

    async def start(self) -> None:
        said = await asyncio.to_thread(self.child.answer)
        self.port, self.node = said["port"], said["node"]
        self.ear = await self.connect(f"ear of {self.node}")

    async def connect(self, name: str | None) -> Ear:
        loop = asyncio.get_running_loop()
        _, ear = await loop.create_connection(lambda: Ear(name), "127.0.0.1", self.port)
        return ear

    async def ask(self, what: str, **more: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self.child.ask, json.dumps({"do": what, **more}))

    def kill(self) -> None:
        self.alive = self.stopped = False
        self.child.kill()

    def stop(self) -> None:
        self.stopped = True
        os.kill(self.child.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        self.stopped = False
        os.kill(self.child.pid, signal.SIGCONT)


class Crew:
    """Servers that are a cluster, over one kind of link.

    :param kind: ``"local"``, or a kind of broker.
    :ivar broker: ``None`` for local links.
    """

    def __init__(self, kind: str, *options: str) -> None:
        self.kind = kind
        self.members: list[Member] = []
        self._options = options
        self._stack = contextlib.ExitStack()

    @property
    def alive(self) -> list[Member]:
        return [one for one in self.members if one.alive]

    async def __aenter__(self) -> Crew:
        given = tempfile.TemporaryDirectory(prefix="hisock-soak-")
        folder = Path(self._stack.enter_context(given))
        self.broker = None if self.kind == "local" else self._start_broker(folder)
        self.url = f"local:{folder}"
        if self.broker is not None:
            self.url = self.broker.url.replace("nats://", f"nats://game:{_PASSWORD}@")
        return self

    def _start_broker(self, folder: Path) -> Broker:
        options = []
        if self.kind.startswith("nats"):  # with the configuration that is shipped
            os.environ.update(GAME_PASSWORD=_PASSWORD, WEB_PASSWORD=_PASSWORD)
            text = (ROOT / "examples" / "nats.conf").read_text("utf-8")
            if self.kind == "nats":  # Debian's is too old for this line
                text = text.replace("no_fast_producer_stall: true\n", "")
            (folder / "nats.conf").write_text(text, "utf-8")
            options = ["-c", str(folder / "nats.conf")]
        broker = Broker(self.kind, folder, *options)
        self._stack.callback(broker.kill)
        return broker

    async def __aexit__(self, *_: object) -> None:
        for one in self.members:
            if one.stopped:
                one.go_on()
        self._stack.close()

    async def add(self, count: int = 1) -> list[Member]:
        """Start servers, and wait until each knows the clients of all."""
        new = [Member(self.url, *self._options) for _ in range(count)]
        for one in new:
            self._stack.enter_context(one.child)
        await asyncio.gather(*(one.start() for one in new))
        self.members += new
        await self.agree()
        return new

    async def agree(self) -> float:
        """Wait until all have the same clients; returns how many seconds that took."""
        return await until("all servers know the same clients", self._agrees)

    async def _agrees(self) -> bool:
        running = [one for one in self.alive if not one.stopped]
        lists = [(await one.ask("clients"))["all"] for one in running]
        ears = sum(not one.ear.ended for one in running)
        return all(one == lists[0] for one in lists) and len(lists[0]) >= ears

    async def all_send(self, rate: float, size: int) -> None:
        for one in self.alive:
            await one.ask("send", rate=rate, size=size)

    async def all_quiet(self) -> None:
        """End the sending; two signs of life later what was lost is known."""
        for one in self.alive:
            await one.ask("quiet")
        await asyncio.sleep(2.5)


_PASSWORD = secrets.token_hex(8)
