"""The asynchronous client against a model: whatever happens, in any order, on a clock that jumps.

The server is played by hand over transports in memory. What it sent, and what it did to each
connection, says what the client's handlers must have been called with, and in which order.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

import hisock
from hisock._client.asyncio_driver import AsyncioDriver
from hisock._client.options import ClientOptions
from hisock._runtime.memory import MemoryTransport, memory_pair
from hisock.framing import Decoder, build_command, build_raw

from .loops import run_on
from .scripted import MODEL, STEPS, answer
from .virtual_time import VirtualLoop


class Server(asyncio.Protocol):
    """The server's end of one connection: answers hellos and questions."""

    def __init__(self, transport: MemoryTransport, told: list[int]) -> None:
        self._transport = transport
        self._told = told
        self._decoder = Decoder()
        self.gone = False

    def data_received(self, data: bytes) -> None:
        for command, payload in self._decoder.feed(data):
            if command is not None:
                self._told.append(int(payload or b""))
            elif (said := answer(payload or b"")) is not None:
                self.raw(said)

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
        self.told: list[int] = []

    def open(self, timeout: float | None) -> Any:
        raise NotImplementedError

    async def attach(self, protocol: asyncio.BaseProtocol) -> None:
        left, right = memory_pair()
        server = Server(right, self.told)
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
        #: What each recv() got, by the order in which they began; tasks may wake in another one.
        self.received: dict[int, int] = {}
        self.cancelled = False
        self.iterated: list[int] = []
        #: What has to reach a server, and what may have been sent to one that was gone.
        self.tells: list[int] = []
        self.risked: list[int] = []
        self.events: list[str] = []
        self.losses = 0
        self.kicked = False
        self.running = 0
        #: What waits for an answer, and may be cancelled; and all that ever did.
        self.tasks: list[asyncio.Future[Any]] = []
        self.all: list[asyncio.Future[Any]] = []
        self._number = 0
        self._asked = 0

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
            offline_buffer=1 << 20,
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
        elif step == "iterate":
            self._start(self._iterate())
        elif step == "tell":
            self._tell()
        elif step in ("answered", "ignored"):
            self._start(self.client.call(step, timeout=5))
        elif step == "ask":
            self._start(self.client.get_client("Bob", timeout=5))
        elif step == "cancel" and self.tasks:
            self.cancelled = True
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
        self._asked += 1
        place = self._asked
        self.received[place] = await self.client.recv("unhandled", int)

    async def _iterate(self) -> None:
        async for command, message in self.client:
            assert command == "unhandled"
            self.iterated.append(int(message or b""))

    def _tell(self) -> None:
        """What is sent is kept until there is a connection."""
        if not self.client.closed:
            self._number += 1
            at_risk = self.client.connected and self.connector.servers[-1].gone
            (self.risked if at_risk else self.tells).append(self._number)
            self.client.send("tell", self._number)

    def check_told(self) -> None:
        told = self.connector.told
        assert told == sorted(set(told)), "sent twice, or in another order"
        assert [number for number in told if number not in self.risked] == self.tells

    def check_taken(self) -> None:
        """Each frame that no handler takes goes to one of those who wait for one."""
        received = [self.received[place] for place in sorted(self.received)]
        assert len(received) == len(set(received))
        # What a cancelled recv() had got goes to one that may have begun after the next.
        assert self.cancelled or received == sorted(received)
        assert self.iterated == sorted(set(self.iterated))
        assert not set(received) & set(self.iterated)
        assert set(received) | set(self.iterated) <= set(self.unhandled)

    async def end(self) -> None:
        """Let everything come to rest, and compare."""
        await asyncio.sleep(200)
        assert self.handled == self.sent
        expected = ["disconnect", "reconnect"] * self.losses
        assert self.events == expected + ["force_disconnect"] * self.kicked
        assert len(self.connector.servers) == self.losses + 1
        assert self.client.closed is self.kicked
        assert self.client.connected is not self.kicked
        self.check_told()
        began = asyncio.get_running_loop().time()
        await self.client.close()
        await self.client.wait_closed()
        assert asyncio.get_running_loop().time() - began < 3
        await asyncio.gather(*self.all, return_exceptions=True)
        self.check_taken()


EVERYTHING = [*STEPS, "ordered", "iterate", "cancel", "pass", "lose", "kick"]


@settings(MODEL, max_examples=150)
@given(st.lists(st.sampled_from([*EVERYTHING, "wait"]), min_size=8, max_size=40))
@example(["ordered", "plain", "ordered", "plain", "kick"])
@example(["ordered", "plain", "recv", "lose", "wait", "plain", "ordered", "unhandled", "kick"])
@example(["recv", "unhandled", "cancel", "ask", "ordered", "answered", "lose", "wait", "recv"])
@example(["unhandled", "recv", "unhandled", "recv", "plain", "plain", "plain", "plain"])
@example(["tell", "lose", "tell", "tell", "unhandled", "iterate", "wait", "unhandled", "iterate"])
def test_an_async_client_does_what_the_model_says(steps: list[str]) -> None:
    async def play() -> None:
        world = World()
        await world.begin()
        for step in steps:
            await world.step(step)
        await world.end()

    run_on(VirtualLoop(), play())


@settings(MODEL, max_examples=100)
@given(st.lists(st.sampled_from(EVERYTHING), max_size=20), st.integers(0, 20))
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
        world.check_taken()

    run_on(VirtualLoop(), play())
