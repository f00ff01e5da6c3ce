"""A client's connection: a plain blocking socket, and the decoder behind it.

One thread at a time reads; any thread may send.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

from hisock._client.options import ClientOptions
from hisock._core.jobs import RawFrame
from hisock._runtime import sockets
from hisock._runtime.sockets import RemoteAddress
from hisock._runtime.tls import TLSSocket
from hisock.exceptions import ClientDisconnected, ConnectionLost, FramingError, ServerNotRunning
from hisock.framing import Decoder

#: Seconds that the server gets to take what was sent last, when the client closes.
LINGER_SECONDS = 1.0
_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)


class Link:
    """One connection to a server.

    :param addr: ``(host, port)`` of the server, or the path of its Unix socket.
    :raises ServerNotRunning: nobody listens there, or nobody answered in time.
    :raises ssl.SSLError: the server's certificate is not to be trusted, or it speaks no TLS.
    """

    def __init__(self, addr: RemoteAddress, options: ClientOptions) -> None:
        self._decoder = Decoder(options.header_len, options.max_message_size)
        self._sending = threading.Lock()
        self._shut = False
        try:
            connection = sockets.open_connection(addr, options.timeout)
            self.local_addr = sockets.local_address(connection)
            self.socket: socket.socket | TLSSocket = connection
            if options.tls is not None:
                self.socket = TLSSocket(connection, options.tls, options.host, options.timeout)
        except (ConnectionRefusedError, TimeoutError, FileNotFoundError) as exc:
            where = sockets.address_text(addr)
            raise ServerNotRunning(f"no server answers at {where}: {exc}") from exc

    def send(self, frame: bytes) -> None:
        """Send a whole frame; blocks while the server takes nothing. From any thread.

        :raises ConnectionLost: the connection has ended.
        :raises ClientDisconnected: it was closed on this side.
        """
        with self._sending:
            if self._shut:
                raise ClientDisconnected("the client is closed, nothing can be sent")
            try:
                self.socket.sendall(frame)
            except OSError as exc:
                raise ConnectionLost(f"the connection to the server ended: {exc}") from exc

    def receive(self, timeout: float | None) -> list[RawFrame]:
        """Receive once, and return the frames that are complete then.

        :param timeout: seconds to wait for something to come; ``None`` waits for ever, 0 not at
            all. When nothing comes the list is empty.
        :raises ConnectionLost: the connection has ended, or the server sent what is no frame.
        """
        if self._decoder.error is not None:
            raise _broken(self._decoder.error)
        buffer = self._decoder.get_buffer()
        flags = 0
        if timeout is not None:
            if (timeout > 0 or not _DONT_WAIT) and not self._readable(timeout):
                return []
            # Even where something can be read: over TLS it may be half a record.
            flags = _DONT_WAIT
        try:
            count = self.socket.recv_into(buffer, 0, flags)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as exc:
            raise ConnectionLost(f"the connection to the server ended: {exc}") from exc
        if not count:
            raise ConnectionLost(self._why_ended())
        try:
            return self._decoder.buffer_updated(count)
        except FramingError as exc:
            raise _broken(exc) from exc

    def _why_ended(self) -> str:
        try:
            self._decoder.eof()
        except FramingError as exc:
            return f"the server closed the connection: {exc}"
        return "the server closed the connection"

    def _readable(self, timeout: float) -> bool:
        if isinstance(self.socket, TLSSocket) and self.socket.pending():
            return True
        if not hasattr(select, "poll"):
            return bool(select.select([self.socket], [], [], timeout)[0])
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

    def shut(self, last_frame: bytes | None) -> None:
        """Send one last frame, if any, and nothing more. From any thread, also while one reads."""
        with self._sending:
            if self._shut:
                return
            self._shut = True
            with contextlib.suppress(OSError):
                if last_frame is not None:
                    # A server that takes nothing must not keep us from closing.
                    self.socket.send(last_frame, _DONT_WAIT)
                self.socket.shutdown(socket.SHUT_WR)

    def drain(self) -> None:
        """Read, into nothing, until the server closes, so that it gets all that was sent.

        A socket closed with unread bytes in it resets the connection, which throws away what is
        still on its way out.
        """
        deadline = time.monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError, ValueError):
            while (left := deadline - time.monotonic()) > 0:
                if not self._readable(left) or not self.socket.recv(65536):
                    break
        self.close()

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def _broken(exc: FramingError) -> ConnectionLost:
    return ConnectionLost(f"the server sent what is no frame: {exc}")
