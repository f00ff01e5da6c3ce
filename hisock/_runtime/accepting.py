"""Transports of accepted sockets: those of the loop, or over TLS those of aiofastnet.

aiofastnet's TLS calls OpenSSL from C, without Python's ``ssl`` in between. It is used where it is
installed and its faults can be avoided; each one that is known has its remedy here.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from importlib.metadata import version
from types import ModuleType
from typing import Any, TypeGuard

from hisock._runtime.tls import PlainContext
from hisock._runtime.transport_loops import transport_loop

#: Bytes of encrypted data that aiofastnet keeps for each direction of a connection: one record of
#: TLS, whose overhead is less than 64 bytes.
BIO_SIZE = 16_384 + 64
#: Seconds that what is written may take to be sent, and the end of TLS to be answered, once a
#: connection closes. aiofastnet keeps the memory of one that is aborted meanwhile for that long.
_SHUTDOWN_SECONDS = 5.0
_READ_LIMIT = "MAX_READ_BYTES_PER_CYCLE_HINT"

Protocols = Callable[[], asyncio.BaseProtocol]


def fast_tls_module() -> ModuleType | None:
    """aiofastnet, if it is installed and has what the remedies for its faults need."""
    # Nobody has tried whether all of this holds on Windows, nor where threads may ask a transport
    # while the loop writes to it.
    if sys.platform == "win32" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None  # pragma: no cover - measured on Linux, with the GIL
    try:
        module = importlib.import_module("aiofastnet")
        constants = importlib.import_module("aiofastnet.constants")
        transport = importlib.import_module("aiofastnet.ssl_transport").SSLTransport_Socket
        # Python may be linked with OpenSSL in a way that leaves nothing to call from outside.
        linked = module.OPENSSL_DYN_LIBS is not None
    except (ImportError, AttributeError):
        return None
    remedied = (
        hasattr(transport, "_retry_ssl_read")
        and hasattr(transport, "get_local_write_buffer_size")
        and hasattr(constants, _READ_LIMIT)
    )
    return module if linked and remedied else None


def tls_name() -> str:
    """What does the TLS of a server that is given a certificate and its key."""
    return "ssl" if fast_tls_module() is None else f"aiofastnet {version('aiofastnet')}"


class Accepting:
    """Gives accepted sockets to the loop, with a TLS handshake where there is TLS.

    :param context: ``None`` for no TLS.
    :param timeout: seconds that the handshake may take.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext | None, timeout: float
    ) -> None:
        self._connect: Callable[..., Any] = loop.connect_accepted_socket
        self._expect: Callable[[int], None] | None = None
        self._tls: dict[str, Any] = {}
        if context is None:
            return
        self._tls = {"ssl": context, "ssl_handshake_timeout": timeout}
        module = fast_tls_module() if isinstance(context, PlainContext) else None
        if module is not None:
            _tame()
            self._connect = module.connect_accepted_socket
            self._tls["loop"] = wrapped = transport_loop(loop)
            self._expect = wrapped.expect
            self._tls["ssl_incoming_bio_size"] = BIO_SIZE
            self._tls["ssl_outgoing_bio_size"] = BIO_SIZE
            self._tls["ssl_shutdown_timeout"] = _SHUTDOWN_SECONDS

    async def accept(self, make: Protocols, sock: socket.socket) -> None:
        """Connect a protocol with a socket that has been accepted.

        :raises OSError: the handshake failed, or took too long (``asyncio.TimeoutError``).
        """
        sock.setblocking(False)
        if self._expect is not None:
            self._expect(sock.fileno())
        try:
            await self._connect(protocol_factory=make, sock=sock, **self._tls)
        except Exception as exc:
            # Its frames refer to the transport, and that of aiofastnet keeps the exception.
            raise exc.with_traceback(None)  # noqa: B904 - it is the same one

    def close(self) -> None:
        """Accept no more; what was accepted goes on."""
        self._tls = {}  # it holds the loop as the transports see it
        self._expect = None
        self._connect = _refuse


async def _refuse(protocol_factory: Protocols, sock: socket.socket) -> None:
    raise ConnectionAbortedError("nothing is accepted any more")


def _tame() -> None:
    """Bound what aiofastnet takes for one client and what it logs, in the whole process.

    OpenSSL works through all key updates that one read brings, 600 of them in this size, and
    aiofastnet reads 256 KiB before others have their turn. And it logs an error for each handshake
    that fails: a stranger could fill the log, while the server logs them at a limited rate.
    """
    setattr(importlib.import_module("aiofastnet.constants"), _READ_LIMIT, BIO_SIZE)
    log = logging.getLogger("aiofastnet")
    if _is_no_error not in log.filters:
        log.addFilter(_is_no_error)


def _is_no_error(record: logging.LogRecord) -> bool:
    return record.levelno != logging.ERROR


def counts_all(transport: object) -> TypeGuard[Any]:
    """Whether it is one of aiofastnet, whose ``get_local_write_buffer_size`` answers any thread,
    and counts what has been encrypted already.
    """
    return hasattr(transport, "get_local_write_buffer_size")


def resume_reading(transport: asyncio.ReadTransport) -> None:
    """Resume reading; what a transport has received already comes first.

    That of aiofastnet 1.2.0 looks for it only once more has come, or nothing ever will.
    """
    read = getattr(transport, "_retry_ssl_read", None)
    if read is not None:
        asyncio.get_running_loop().call_soon(read)
    transport.resume_reading()
