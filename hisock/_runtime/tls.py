"""TLS: contexts from the ``ssl`` option, and a socket that two threads may use at once."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import cast

#: The ``ssl`` option of a server: a context, or the paths of a certificate chain and its key.
ServerTLS = ssl.SSLContext | tuple[str | Path, str | Path] | None
#: The ``ssl`` option of a client: a context, ``True`` to trust the system's authorities, or the
#: path of a file with those to trust.
ClientTLS = ssl.SSLContext | bool | str | Path | None

_CHUNK = 65536
_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)


class PlainContext(ssl.SSLContext):
    """The context of a certificate and its key, without anything that calls Python.

    OpenSSL calls ``sni_callback``, ``keylog_filename`` and the like with an object of Python's own,
    and crashes where the connection has none, as over aiofastnet.
    """


def server_context(option: ServerTLS) -> ssl.SSLContext | None:
    """The context that a server's ``ssl=`` stands for; TLS 1.2 or newer.

    :raises OSError: a file cannot be read.
    :raises ssl.SSLError: they are no certificate and key that belong together.
    """
    if option is None or isinstance(option, ssl.SSLContext):
        return option
    if not isinstance(option, (tuple, list)) or len(option) != 2:
        raise TypeError(
            f"ssl is (certificate, key), the paths of two files, or an SSLContext, not {option!r}"
        )
    certificate, key = option
    _require_files(certificate, key)
    context = PlainContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(os.fspath(certificate), os.fspath(key))
    # A client of games makes one connection at a time, and gets another ticket with each. OpenSSL
    # makes two, for browsers, and the second would be a twentieth of what a handshake computes.
    context.num_tickets = 1
    return context


def _require_files(*paths: str | Path) -> None:
    """Raise an error that names the file: those of OpenSSL do not.

    :raises OSError: one cannot be read.
    """
    for path in paths:
        with open(path, "rb"):
            pass


def client_context(option: ClientTLS) -> ssl.SSLContext | None:
    """The context that a client's ``ssl=`` stands for; TLS 1.2 or newer, host names checked.

    :raises OSError: the file cannot be read.
    """
    if option is None or option is False:
        return None
    if isinstance(option, ssl.SSLContext):
        return option
    if not isinstance(option, (bool, str, os.PathLike)):
        raise TypeError(f"ssl is True, the path of a file or an SSLContext, not {option!r}")
    authorities = None if isinstance(option, bool) else os.fspath(option)
    if authorities is not None:
        _require_files(authorities)
    context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class TLSSocket:
    """The part of a socket that :class:`hisock._client.blocking_link.Link` uses, over TLS.

    Two threads must not read and write an ``SSLSocket`` at the same time. Here a lock guards the
    TLS state, and no thread waits for the network while it holds the lock.

    :param sock: a connected, blocking socket, which this object takes over.
    :ivar raw: that socket.
    :param timeout: seconds that the handshake may take; ``None`` for ever.
    :raises ssl.SSLError: the peer's certificate is not to be trusted, or it does not speak TLS.
    :raises TimeoutError: the handshake took too long.
    """

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, host: str | None, timeout: float | None
    ) -> None:
        self.raw = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._ended = False
        #: What has come and is not decrypted yet; an empty one is the end.
        self._chunks: list[bytes] = []
        #: Whether something was decrypted, or may have been, since this was cleared.
        self.reading = False
        try:
            self._shake_hands(timeout)
        except BaseException:
            sock.close()
            raise

    def _shake_hands(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            done = True
            try:
                self._session.do_handshake()
            except ssl.SSLWantReadError:
                done = False
            finally:
                # The alert that tells the peer why the handshake failed is sent as well.
                with contextlib.suppress(OSError):
                    self.raw.sendall(self._outgoing.read())
            if done:
                self.raw.settimeout(None)
                return
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the TLS handshake took too long")
                self.raw.settimeout(left)
            data = self.raw.recv(_CHUNK)
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def recv_into(self, buffer: memoryview, nbytes: int = 0, flags: int = 0) -> int:
        """Receive once; with ``MSG_DONTWAIT`` in ``flags``, raises ``BlockingIOError`` instead of
        waiting. 0 when the peer has closed.

        Where Ctrl-C ends it while it waits, nothing is lost; if it comes while something that has
        come is decrypted, ``reading`` stays set."""
        size = nbytes or len(buffer)
        while True:
            with self._lock:
                self.reading = True
                self._take_chunks()
                try:
                    # Given a buffer it returns a count, which its annotation does not say.
                    return cast(int, self._session.read(size, buffer))
                except ssl.SSLWantReadError:
                    waits = self._outgoing.pending > 0
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return 0
                self.reading = False
            if waits:
                self._send_outgoing()
            if self._ended:
                return 0
            # One call from the system into the list, so that Ctrl-C never comes in between.
            self._chunks.extend(map(self.raw.recv, (_CHUNK,), (flags,)))

    def _take_chunks(self) -> None:
        """Hand what has come to TLS, with the lock held."""
        for data in self._chunks:
            if data:
                self._incoming.write(data)
            else:
                self._ended = True
                self._incoming.write_eof()
        self._chunks.clear()

    def recv(self, size: int) -> bytes:
        """Receive at most ``size`` bytes; none when the peer has closed."""
        buffer = bytearray(size)
        return bytes(buffer[: self.recv_into(memoryview(buffer))])

    def pending(self) -> bool:
        """Whether something can be received without waiting for the network."""
        with self._lock:
            return bool(self._session.pending() or self._incoming.pending or self._chunks)

    def sendall(self, data: bytes) -> None:
        """Send all; blocks while the peer takes nothing."""
        with self._lock:
            view = memoryview(data)
            while view:
                view = view[self._session.write(view) :]
        self._send_outgoing()

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """The same as :meth:`sendall`, but with ``MSG_DONTWAIT`` in ``flags`` it waits for nothing:
        what the system does not take at once is lost, so nothing can follow it."""
        with self._lock:
            self._session.write(data)
        self._send_outgoing(wait=not flags)
        return len(data)

    def _send_outgoing(self, wait: bool = True) -> None:
        # One writer at a time, so that bytes are sent in the order in which they were encrypted.
        if not self._writing.acquire(blocking=wait):
            return
        try:
            with self._lock:
                data = self._outgoing.read()
            if data and wait:
                self.raw.sendall(data)
            elif data:
                with contextlib.suppress(BlockingIOError):
                    self.raw.send(data, _DONT_WAIT)
        finally:
            self._writing.release()

    def shutdown(self, how: int) -> None:
        """Send the TLS close alert if that does not block, and shut the socket down."""
        if how == socket.SHUT_WR:
            with self._lock, contextlib.suppress(ssl.SSLError):
                self._session.unwrap()
            self._send_outgoing(wait=False)
        self.raw.shutdown(how)

    def getsockname(self) -> object:
        return self.raw.getsockname()

    def fileno(self) -> int:
        return self.raw.fileno()

    def close(self) -> None:
        self.raw.close()
