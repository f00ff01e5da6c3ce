"""Where a client's connections come from.

The drivers know no addresses: they ask a connector for one connection after the other. The one
here opens TCP connections and Unix sockets, with or without TLS; tests bring pairs in memory.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from hisock._runtime import sockets
from hisock._runtime.sockets import RemoteAddress
from hisock._runtime.tls import TLSSocket
from hisock.exceptions import ServerNotRunning

#: What a blocking client reads from and writes to.
Socket = socket.socket | TLSSocket


class Connector(Protocol):
    """Makes connections to one server.

    :ivar addr: the server's address, as the program gave it.
    """

    addr: Any

    def open(self, timeout: float | None) -> Socket:
        """A new connection for a blocking client.

        :param timeout: seconds to wait; ``None`` as long as the system does.
        :raises ServerNotRunning: no server listens, or it did not answer in time.
        """

    async def attach(self, protocol: asyncio.BaseProtocol) -> None:
        """Connect, and give the running loop's transport to a protocol.

        :raises ServerNotRunning: no server listens.
        """


class ServerConnector:
    """Connects to an address.

    :param addr: ``(host, port)`` of the server, or the path of its Unix socket.
    :param tls: the context to speak TLS with; ``None`` for plain bytes.
    :param host: the name that the server's certificate has to have.
    """

    def __init__(self, addr: RemoteAddress, tls: ssl.SSLContext | None, host: str | None) -> None:
        self.addr = addr
        self._tls = tls
        self._host = host

    def open(self, timeout: float | None) -> Socket:
        """A new blocking connection.

        :raises ServerNotRunning: no server listens, or it did not answer in time.
        :raises ssl.SSLError: the server's certificate is not to be trusted, or it speaks no TLS.
        """
        try:
            connection = sockets.open_connection(self.addr, timeout)
            if self._tls is None:
                return connection
            return TLSSocket(connection, self._tls, self._host, timeout)
        except OSError as exc:
            explained = self._explained(exc)
            if explained is None:
                raise
            raise explained from exc

    async def attach(self, protocol: asyncio.BaseProtocol) -> None:
        """Connect on the running loop.

        :raises ServerNotRunning: no server listens.
        :raises ssl.SSLError: the server's certificate is not to be trusted, or it speaks no TLS.
        """
        try:
            await self._attach(lambda: protocol)
        except OSError as exc:
            explained = self._explained(exc)
            if explained is None:
                raise
            raise explained from exc

    async def _attach(self, make: Callable[[], asyncio.BaseProtocol]) -> None:
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {"ssl": self._tls}
        if self._tls is not None:
            tls["server_hostname"] = self._host
        if isinstance(self.addr, (str, Path)):
            sockets.require_path(str(self.addr))
            await loop.create_unix_connection(make, str(self.addr), **tls)
            return
        try:
            await loop.create_connection(make, *self.addr, **tls)
        except (socket.gaierror, UnicodeError) as exc:
            raise sockets.unresolved_error(self.addr[0], exc) from None

    def _explained(self, exc: OSError) -> OSError | None:
        """A better error for one that connecting failed with; ``None`` if it says enough."""
        if _nobody_listens(exc):
            return self.not_running(exc)
        if self._tls is not None and _may_be_plain(exc):
            where = sockets.address_text(self.addr)
            said = exc.strerror or "it ended the connection during the handshake"
            code = errno.ECONNRESET if exc.errno is None else exc.errno
            error = type(exc)(code, f"the server at {where} may not speak TLS: {said}")
            error.__dict__.update(exc.__dict__)  # of an SSLError: library and reason
            return error
        return None

    def not_running(self, exc: BaseException) -> ServerNotRunning:
        where = sockets.address_text(self.addr)
        return ServerNotRunning(f"no server answers at {where}: {exc}")


def _may_be_plain(exc: OSError) -> bool:
    """Whether a TLS handshake failed as it does with a server that takes it for something else."""
    return (
        isinstance(exc, (ssl.SSLEOFError, ConnectionResetError, ConnectionAbortedError))
        or getattr(exc, "reason", None) == "WRONG_VERSION_NUMBER"
    )


def _nobody_listens(exc: OSError) -> bool:
    if isinstance(exc, (ConnectionRefusedError, TimeoutError, FileNotFoundError)):
        return True
    # asyncio, for a name with several addresses: the errors of all of them in one text.
    return type(exc) is OSError and exc.errno is None
