"""A server under test, and clients that reach it without sockets."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from hisock._client.asyncio_driver import AsyncioDriver
from hisock._client.options import ClientOptions
from hisock._client.reconnect import Reconnect
from hisock._core.error_handlers import ErrorContext
from hisock._runtime.memory import memory_pair
from hisock._testing.clock import Clock
from hisock._testing.recording import RecordedFrame, Recording
from hisock.async_client import AsyncHiSockClient
from hisock.exceptions import ServerNotRunning
from hisock.framing import DEFAULT_MAX_FRAME_SIZE
from hisock.server import HiSockServer


class MemoryConnector:
    """Connects clients to a server on the same loop, as a ``Connector`` does.

    :param server: the server.
    :param recording: gets every frame.
    :ivar addr: shown where a client tells its server's address.
    """

    addr = ("memory", 0)

    def __init__(self, server: HiSockServer, recording: Recording) -> None:
        self._server = server
        self._recording = recording
        self._count = 0

    def open(self, timeout: float | None) -> Any:
        """Never used: only asynchronous clients come this way."""
        raise NotImplementedError("clients of hisock.testing run on the server's loop")

    async def attach(self, protocol: asyncio.BaseProtocol) -> None:
        """Connect.

        :raises ServerNotRunning: the server is closed.
        """
        if self._server.closed:
            raise ServerNotRunning("the server under test is closed")
        self._count += 1
        number = self._count
        ours, theirs = memory_pair(addresses=(("memory", number), self.addr))
        ours.tap = self._recording.tap(number, "to server")
        theirs.tap = self._recording.tap(number, "to client")
        ours.set_protocol(protocol)
        self._server._hub.attach(theirs, ("memory", number))
        protocol.connection_made(ours)


class TestServer:
    """A server, its clients and its clock on one loop: ``async with TestServer(server) as t``.

    No socket is opened and no time passes, so that a test is fast and its outcome always the same.
    The server is made with ``HiSockServer(None)``.

    :param server: the server; it is closed in the end.
    :param raise_errors: whether an error that a handler raised, and no ``error_handler`` of the
        program was given, is raised again at the end of the block.
    :ivar clock: moves the time: ``await t.clock.advance(5)``.
    :ivar errors: what handlers raised, with the :class:`hisock.ErrorContext` of each.
    """

    __test__ = False  # pytest takes classes of this name for tests
    clock: Clock

    def __init__(self, server: HiSockServer, *, raise_errors: bool = True) -> None:
        self.server = server
        self.errors: list[tuple[Exception, ErrorContext]] = []
        self._raise_errors = raise_errors
        self._recording = Recording(server.header_len, self._touch)
        self._connector = MemoryConnector(server, self._recording)
        self._clients: list[AsyncHiSockClient] = []

    def _touch(self) -> None:
        self.clock.touch()

    @property
    def frames(self) -> list[RecordedFrame]:
        """What went between the server and its clients, both ways, in order."""
        return self._recording.frames

    async def connect(
        self,
        name: str | None = None,
        group: str | None = None,
        *,
        token: str | None = None,
        codec: str | None = None,
        reconnect: Reconnect | bool | None = None,
        offline_buffer: int = 0,
        cache_size: int = -1,
    ) -> AsyncHiSockClient:
        """A client that has joined. Parameters as for :func:`hisock.async_connect`.

        :param codec: the server's by default.
        :raises ConnectionRejected: the server does not let it in.
        """
        options = ClientOptions(
            name=name,
            group=group,
            header_len=self.server.header_len,
            cache_size=cache_size,
            max_message_size=DEFAULT_MAX_FRAME_SIZE,
            timeout=10.0,
            codec=codec or self.server._codec.name,
            token=token,
            reconnect=Reconnect.of(reconnect),
            offline_buffer=offline_buffer,
        )
        driver = AsyncioDriver(self._connector, options)
        await driver.connect()
        client = AsyncHiSockClient(driver)
        self._clients.append(client)
        await self.settle()
        return client

    async def settle(self) -> None:
        """Wait until everything that was sent has been handled."""
        await self.clock.settle()

    async def __aenter__(self) -> TestServer:
        self.clock = Clock()
        # The clock stands still, so that what is gathered would wait for ever.
        self.server._hub.announcements.window = 0
        runner = self.server._hub.runner
        given = runner.error_handler

        def failed(exc: Exception, context: ErrorContext) -> None:
            self.errors.append((exc, context))
            if given is not None:
                self._raise_errors = False
                given(exc, context)

        runner.error_handler = failed
        try:
            await self.server.__aenter__()
        except BaseException:
            self.clock.restore()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            closing = []
            for client in self._clients:
                closing.append(asyncio.ensure_future(client.close()))
                await self.settle()
            # A client that a handler still runs for waits for its end, which closing brings about.
            self.server.close(timeout=0)
            await self.server.__aexit__(None, None, None)
            await asyncio.gather(*closing)
        finally:
            self.clock.restore()
        if exc is None and self._raise_errors and self.errors:
            raise self.errors[0][0]
