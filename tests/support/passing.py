"""A way to a server on the loopback, which passes on what comes, perhaps from TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator


class Way:
    """A way to a port: what comes by it is passed on, both ways.

    :ivar port: where it is entered.
    :ivar clients: the connections that it has.
    """

    port: int

    def __init__(self, to: int) -> None:
        self._to = to
        self.clients: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def open(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Way]:
        """Take connections, over TLS with a context."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.append(writer)
        there, to_broker = await asyncio.open_connection("127.0.0.1", self._to)
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pass_on(reader, to_broker), self._pass_on(there, writer))

    @staticmethod
    async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
