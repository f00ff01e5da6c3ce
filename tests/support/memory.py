"""Clients that are connected to a server in memory, on its own loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

from features.virtual_time import VirtualLoop

import hisock
from hisock._runtime.memory import memory_pair
from hisock.framing import Decoder, build_command, build_raw

Received = tuple[str | None, bytes | None]


class MemoryPeer(asyncio.Protocol):
    """A client of which a test says each frame.

    :ivar frames: what it has received, oldest first.
    :ivar ended: whether its connection has ended.
    """

    _ports = 0

    def __init__(
        self, server: hisock.HiSockServer, name: str | None = "peer", **hello: Any
    ) -> None:
        MemoryPeer._ports += 1
        self.addr = ("memory", MemoryPeer._ports)
        self.frames: list[Received] = []
        self.ended = False
        self._decoder = Decoder()
        self.transport, its = memory_pair(addresses=(self.addr, ("server", 1)))
        self.transport.set_protocol(self)
        self.connection = server._hub.attach(its, self.addr)
        if name is not None:
            self.hello(name, **hello)

    def hello(self, name: str | None, **hello: Any) -> None:
        self.raw(b"$CLTHELLO$" + json.dumps({"name": name, "group": None, **hello}).encode())

    def data_received(self, data: bytes) -> None:
        self.frames += self._decoder.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True

    def raw(self, payload: bytes) -> None:
        self.transport.write(build_raw(payload))

    def send(self, command: str, message: bytes | None = None) -> None:
        self.transport.write(build_command(command, message))

    def named(self, command: str | None) -> list[bytes | None]:
        """The messages of a command, or the payloads of what has none."""
        return [message for name, message in self.frames if name == command]


async def settle() -> None:
    """Let the loop run until nothing is under way any more."""
    for _ in range(300):
        await asyncio.sleep(0)


def on_virtual_loop(main: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine on a loop whose clock jumps to the next timer."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(asyncio.wait_for(main, 3600))
    finally:
        loop.close()
