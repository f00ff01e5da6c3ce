"""The asynchronous client against a model: whatever happens, in any order, on a clock that jumps.

The server is played by hand over transports in memory. What it sent, and what it did to each
connection, says what the client's handlers must have been called with, and in which order.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import hisock
from hisock._client.asyncio_driver import AsyncioDriver
from hisock._client.options import ClientOptions
from hisock._runtime.memory import MemoryTransport, memory_pair
from hisock.framing import Decoder, build_command, build_raw

from .loops import run_on
from .virtual_time import VirtualLoop

HELLO = {"features": ["call", "reject"], "codec": "json", "keepalive": 20}


class Server(asyncio.Protocol):
    """The server's end of one connection: answers hellos and questions."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._decoder = Decoder()
        self.gone = False

    def data_received(self, data: bytes) -> None:
        for command, payload in self._decoder.feed(data):
            if command is None:
                self._answer(payload or b"")

    def _answer(self, payload: bytes) -> None:
        if payload.startswith(b"$CLTHELLO$"):
            self.raw(b"$SRVHELLO$" + json.dumps(HELLO).encode())
        elif payload.startswith(b"$GETCLT$"):
            self.raw(b'{"traceback": "$NOEXIST$"}')
        elif payload.startswith(b"$CALL$"):
            number, _, command = payload[len(b"$CALL$") :].partition(b"$CMD$")
            if command.startswith(b"answered"):
                self.raw(b"$REPLY$" + number)

    def raw(self, payload: bytes) -> None:
        self._transport.write(build_raw(payload))

    def send(self, command: str, number: int) -> None:
        self._transport.write(build_command(command, str(number).encode()))

    def lose(self) -> None:
        self.gone = True
        self._transport.abort()

    def kick(self) -> None:
        self.gone = True
        self.raw(b"$DISCONN$")
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True


class Connector:
    """Connects to such servers."""

    addr = "memory"

    def __init__(self) -> None:
        self.servers: list[Server] = []

    def open(self, timeout: float | None) -> Any:
        raise NotImplementedError

    async def attach(self, protocol: asyncio.BaseProtocol) -> None:
        left, right = memory_pair()
        server = Server(right)
        right.set_protocol(server)
        left.set_protocol(protocol)
        protocol.connection_made(left)
        self.servers.append(server)


class World:
    """A client, the servers that it meets, and what the model expects of it."""

    def __init__(self) -> None:
        self.connector = Connector()
        self.sent: list[int] = []
        self.unhandled: list[int] = []
        self.handled: list[int] = []
        self.received: list[int] = []
        self.events: list[str] = []
        self.losses = 0
        self.kicked = False
        self.running = 0
        #: What waits for an answer, and may be cancelled; and all that ever did.
        self.tasks: list[asyncio.Future[Any]] = []
        self.all: list[asyncio.Future[Any]] = []
        self._number = 0

    async def begin(self) -> None:
        options = ClientOptions(
            name="Ada",
            group=None,
            header_len=16,
            cache_size=-1,
            max_message_size=1 << 20,
            timeout=10,
            codec="json",
            token=None,
            reconnect=hisock.Reconnect(initial=1, jitter=0),
            offline_buffer=0,
        )
        driver = AsyncioDriver(self.connector, options)
        await driver.connect()
        self.client = client = hisock.AsyncHiSockClient(driver)
        client.on("plain")(self._plain)
        client.on("ordered")(self._ordered)
        for event in ("force_disconnect", "reconnect"):
            client.on(event)(partial(self.events.append, event))
        client.on("disconnect")(lambda reason: self.events.append("disconnect"))

    def _plain(self, number: int) -> None:
        assert not self.running, "a frame overtook the handler before it"
        self.handled.append(number)

    async def _ordered(self, number: int) -> None:
        assert not self.running, "two ordered handlers run at once"
        self.running += 1
        self.handled.append(number)
        await asyncio.sleep(3)
        self.running -= 1

    async def step(self, step: str) -> None:
        server = self.connector.servers[-1]
        if step in ("plain", "ordered", "unhandled") and not server.gone and self.client.connected:
            self._number += 1
            server.send(step, self._number)
            (self.unhandled if step == "unhandled" else self.sent).append(self._number)
        elif step in ("lose", "kick") and not server.gone and self.client.connected:
            await asyncio.sleep(0.01)  # what was sent arrives
            self.kicked = step == "kick"
            self.losses += step == "lose"
            server.lose() if step == "lose" else server.kick()
        elif step == "recv":
            self._start(self._recv())
        elif step in ("answered", "ignored"):
            self._start(self.client.call(step, timeout=5))
        elif step == "ask":
            self._start(self.client.get_client("Bob", timeout=5))
        elif step == "cancel" and self.tasks:
            self.tasks.pop(0).cancel()
        elif step == "pass":
            await asyncio.sleep(0.7)
        elif step == "wait":
            await asyncio.sleep(5)
        await asyncio.sleep(0)

    def _start(self, coroutine: Any) -> None:
        self.tasks.append(asyncio.ensure_future(coroutine))
        self.all.append(self.tasks[-1])

    async def _recv(self) -> None:
        self.received.append(await self.client.recv("unhandled", int))

    async def end(self) -> None:
        """Let everything come to rest, and compare."""
        await asyncio.sleep(200)
        assert self.handled == self.sent
        expected = ["disconnect", "reconnect"] * self.losses
        assert self.events == expected + ["force_disconnect"] * self.kicked
        assert len(self.connector.servers) == self.losses + 1
        assert self.client.closed is self.kicked
        assert self.client.connected is not self.kicked
        began = asyncio.get_running_loop().time()
        await self.client.close()
        await self.client.wait_closed()
        assert asyncio.get_running_loop().time() - began < 3
        await asyncio.gather(*self.all, return_exceptions=True)
        assert self.received == sorted(set(self.received))
        assert set(self.received) <= set(self.unhandled)


STEPS = ["plain", "ordered", "unhandled", "recv", "answered", "ignored", "ask", "cancel", "pass"]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from([*STEPS, "wait", "lose", "kick"]), min_size=8, max_size=40))
@example(["ordered", "plain", "ordered", "plain", "kick"])
@example(["ordered", "plain", "recv", "lose", "wait", "plain", "ordered", "unhandled", "kick"])
@example(["recv", "unhandled", "cancel", "ask", "ordered", "answered", "lose", "wait", "recv"])
def test_an_async_client_does_what_the_model_says(steps: list[str]) -> None:
    async def play() -> None:
        world = World()
        await world.begin()
        for step in steps:
            await world.step(step)
        await world.end()

    run_on(VirtualLoop(), play())


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from([*STEPS, "lose", "kick"]), max_size=20), st.integers(0, 20))
def test_an_async_client_can_be_closed_at_any_moment(steps: list[str], at: int) -> None:
    async def play() -> None:
        world = World()
        await world.begin()
        for step in steps[:at]:
            await world.step(step)
        began = asyncio.get_running_loop().time()
        await world.client.close()
        assert asyncio.get_running_loop().time() - began < 3
        handled = list(world.handled)
        await asyncio.sleep(200)
        assert world.handled == handled == world.sent[: len(handled)]
        assert len(world.connector.servers) <= world.losses + 1
        for task in world.all:
            assert task.done(), "somebody still waits for a client that is closed"
        await asyncio.gather(*world.all, return_exceptions=True)

    run_on(VirtualLoop(), play())
