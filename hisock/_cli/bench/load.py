"""Connections that send, and note when the answers come."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from hisock._cli.bench.kinds import LoadKind, Refused
from hisock._cli.usage import Failed
from hisock._client.connector import ServerConnector
from hisock._client.endings import read_goodbye
from hisock._core import protocol
from hisock._core.latencies import Latencies
from hisock._core.reporting import one_line
from hisock._runtime.sockets import RemoteAddress, host_of
from hisock.exceptions import ProtocolError
from hisock.framing import DEFAULT_MAX_FRAME_SIZE, Decoder, Frame, FramingError

#: Seconds between two rounds of sending, with a rate.
TURN = 0.001
#: Bytes that wait to be written above which a connection sends no more for now.
_BACKLOG = 1024 * 1024
_perf = time.perf_counter


class Target(NamedTuple):
    """The server, and how to join it."""

    address: RemoteAddress
    tls: ssl.SSLContext | None
    token: str | None
    header_len: int


@dataclass
class LoadCounts:
    """What has happened so far.

    :ivar sent: messages sent; ``answers`` how many answers came.
    :ivar received: bytes received.
    :ivar errors: handlers of the server that failed; ``error`` what the last one said.
    :ivar lost: connections that ended, and ``why`` the last one did.
    """

    sent: int = 0
    answers: int = 0
    received: int = 0
    errors: int = 0
    error: str = ""
    lost: int = 0
    why: str = ""
    latencies: Latencies = field(default_factory=Latencies)


class DueTimes:
    """The numbers of messages, and when each of them was due."""

    def __init__(self) -> None:
        self.due: dict[int, list[float]] = {}
        self._next = 0

    def note(self, due: float, answers: int) -> int:
        """Number a message; ``answers`` are to come."""
        self._next += 1
        self.due[self._next] = [due, answers]
        return self._next

    def answered(self, number: int) -> float | None:
        """When a message was due that is answered now; ``None`` for an unknown one."""
        entry = self.due.get(number)
        if entry is None:
            return None
        entry[1] -= 1
        if not entry[1]:
            del self.due[number]
        return entry[0]


class LoadConnection(asyncio.Protocol):
    """One client.

    :param kind: builds what it sends, and knows the answers.
    :ivar members: how many answers each of its messages has: the clients in its room, or 1.
    :ivar refill: without a rate, send the next message for each answer to one of its own.
    """

    def __init__(
        self,
        target: Target,
        kind: LoadKind,
        counts: LoadCounts,
        ledger: DueTimes,
        group: str | None,
    ) -> None:
        self._target = target
        self._kind = kind
        self._counts = counts
        self._ledger = ledger
        self._group = group
        self._decoder = Decoder(target.header_len, DEFAULT_MAX_FRAME_SIZE)
        self._transport: asyncio.Transport | None = None
        self._mine: set[int] = set()
        #: Moments at which messages were due that have not been sent yet.
        self.owed: list[float] = []
        self.members = 1
        self.refill = False
        self.reason = ""
        loop = asyncio.get_running_loop()
        self.joined: asyncio.Future[bool] = loop.create_future()
        self.answered: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        target = self._target
        hello = protocol.build_hello(
            "hisock-bench", self._group, target.header_len, token=target.token
        )
        self._transport.write(hello)

    def data_received(self, data: bytes) -> None:
        self._counts.received += len(data)
        try:
            frames = self._decoder.feed(data)
        except FramingError as exc:
            self._end(f"the server does not speak this protocol: {one_line(exc)}")
            return
        again = 0
        for frame in frames:
            again += self._take(frame)
        if again and self.refill:
            self.send([_perf()] * again)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the server closed the connection" if exc is None else one_line(exc))

    def _end(self, reason: str) -> None:
        if self._transport is None:
            return
        self._transport.abort()
        self._transport = None
        self._counts.lost += 1
        self.reason = self.reason or reason
        self._counts.why = self.reason
        self.ended.set_result(None)
        if not self.joined.done():
            self.joined.set_exception(Failed(self.reason))
        if not self.answered.done():
            self.answered.set_exception(Failed(self.reason))
            self.answered.exception()  # read: it may be that nobody waits for it

    def _take(self, frame: Frame) -> int:
        """Take one frame; returns 1 if it answers a message of this connection's own."""
        try:
            number = self._kind.answered(frame)
        except Refused as exc:
            self._counts.errors += 1
            self._counts.error = str(exc)
            if not self.answered.done():
                self.answered.set_exception(exc)
            return 1
        if number is None:
            self._take_other(frame)
            return 0
        due = self._ledger.answered(number)
        if due is None:
            return 0
        self._counts.answers += 1
        self._counts.latencies.add(_perf() - due)
        if not self.answered.done():
            self.answered.set_result(None)
        if number in self._mine:
            self._mine.discard(number)
            return 1
        return 0

    def _take_other(self, frame: Frame) -> None:
        command, payload = frame
        if command is not None:
            return
        try:
            reserved = protocol.split_reserved(payload or b"")
        except ProtocolError:
            reserved = None
        if reserved is None:
            return
        name, data = reserved
        if name == protocol.KEEPALIVE and self._transport is not None:
            ack = protocol.build_reserved(
                protocol.KEEPALIVE_ACK, header_len=self._target.header_len
            )
            self._transport.write(ack)
        elif name == protocol.REJECT:
            self.reason = (
                f"the server does not let it in: {one_line(data.decode(errors='replace'))}"
            )
        elif read_goodbye(name, data) is not None:
            self.reason = self.reason or "the server ended the connection"
        elif name == protocol.SERVER_HELLO and not self.joined.done():
            self.joined.set_result("call" in protocol.parse_server_hello(data).features)
        elif name == protocol.CLIENT_JOINED and not self.joined.done():
            self.joined.set_result(False)  # 2.0.2, which says no hello

    # -- sending

    def send(self, due: list[float]) -> None:
        """Send a message for each moment at which one was due."""
        transport = self._transport
        if transport is None:
            return
        counts, kind, mine = self._counts, self._kind, self._mine
        parts = []
        for when in due:
            number = self._ledger.note(when, self.members)
            mine.add(number)
            parts.append(kind.build(number))
        counts.sent += len(parts)
        transport.write(b"".join(parts))

    @property
    def full(self) -> bool:
        """Whether so much waits to be written that it sends no more for now."""
        transport = self._transport
        return transport is None or transport.get_write_buffer_size() > _BACKLOG

    @property
    def open(self) -> bool:
        return self._transport is not None

    def close(self) -> None:
        """Say goodbye."""
        if self._transport is not None:
            leave = protocol.build_reserved(protocol.LEAVE, header_len=self._target.header_len)
            self._transport.write(leave)
            self._transport.close()
            self._transport = None


async def open_connection(
    target: Target, kind: LoadKind, counts: LoadCounts, ledger: DueTimes, group: str | None
) -> LoadConnection:
    """A connection that has joined.

    :raises Failed: the server did not let it in.
    :raises ServerNotRunning: nobody listens.
    """
    connection = LoadConnection(target, kind, counts, ledger, group)
    host = host_of(target.address) if target.tls else None
    await ServerConnector(target.address, target.tls, host).attach(connection)
    try:
        await asyncio.wait_for(asyncio.shield(connection.joined), 10)
    except asyncio.TimeoutError:
        connection.close()
        raise Failed("the server did not let a client in within 10 seconds") from None
    return connection


async def pace(
    connections: list[LoadConnection], rate: float, count: int, give_up: Callable[[], bool]
) -> None:
    """Send so many messages at a rate, all connections in turn, whatever the answers do.

    A message is due at a moment that the rate decides, and its latency counts from there: what a
    slow server keeps from being sent counts as waiting too.

    :param give_up: whether the rest is to be left unsent.
    """
    begun = _perf()
    done = 0
    while not give_up():
        due = min(int((_perf() - begun) * rate) + 1, count)
        for number in range(done, due):
            connections[number % len(connections)].owed.append(begun + number / rate)
        done = due
        waits = False
        for connection in connections:
            if connection.owed and not connection.full:
                owed, connection.owed = connection.owed, []
                connection.send(owed)
            waits = waits or bool(connection.owed)
        if done == count and not waits:
            return
        await asyncio.sleep(TURN)
