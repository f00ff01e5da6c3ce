"""TLS over a socket that the loop only watches, for protocols that are received into.

The TLS of asyncio and of uvloop asks after every read whether more has come, which costs an
exception, and copies all bytes through buffers in memory. Here OpenSSL uses the socket itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from typing import Any

from hisock._framing_common import LONG_WRITE
from hisock._runtime import sockets
from hisock._runtime.hangups import hangups_of
from hisock.framing import Channel

#: Seconds in which a connection that is closed has to take what is written, and to close as well.
_CLOSE_SECONDS = 30.0
#: Bytes that may wait to be written before a protocol is told to pause, as in asyncio.
_HIGH = 65536


async def accept(
    loop: asyncio.AbstractEventLoop,
    make: Callable[[], Any],
    sock: socket.socket,
    context: ssl.SSLContext | None,
    timeout: float,
) -> None:
    """Connect a protocol to an accepted socket, which does not block, after a handshake of TLS.

    :param context: ``None`` for no TLS.
    :param timeout: seconds that the handshake may take.
    :raises OSError: the handshake failed, or took too long.
    """
    if context is None:
        await loop.connect_accepted_socket(make, sock)
    elif sys.platform == "win32":  # pragma: no cover - asyncio's loop cannot watch a socket there
        await loop.connect_accepted_socket(make, sock, ssl=context, ssl_handshake_timeout=timeout)
    else:
        tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        await Secured(loop, tls, make()).shake_hands(timeout)


class Secured(Channel):
    """The transport of a connection over TLS.

    :param sock: does not block; this object takes it over.
    """

    __slots__ = (
        "__weakref__",
        "_done",
        "_fd",
        "_full",
        "_hangups",
        "_high",
        "_loop",
        "_lost",
        "_low",
        "_made",
        "_protocol",
        "_size",
        "_sock",
        "_stalled",
        "_timer",
        "_writing",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: ssl.SSLSocket, protocol: Any) -> None:
        super().__init__()
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._hangups = hangups_of(loop)
        # OpenSSL's part of the socket has the same methods, and saves a call each time.
        tls: Any = getattr(sock, "_sslobj", None) or sock
        self._fill, self._offer, self._pending = tls.read, tls.write, tls.pending
        self._waits = sockets.asks_unread(self._fd)
        self.set_protocol(protocol)
        self._done: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._made = False
        self._lost = False
        #: Whether reading waits until something can be written.
        self._stalled = False
        #: Whether the loop calls when something can be written.
        self._writing = False
        #: Bytes that are queued, and whether the protocol was told that these are too many.
        self._size = 0
        self._full = False
        self.set_write_buffer_limits()

    # -- the handshake

    async def shake_hands(self, timeout: float) -> None:
        """Shake hands, then call the protocol.

        :raises OSError: that failed, or took longer than ``timeout`` seconds.
        """
        done = self._done = self._loop.create_future()
        self._timer = self._loop.call_later(timeout, self._give_up, timeout)
        self._loop.add_reader(self._fd, self._shake)
        self._shake()
        try:
            await done
        except BaseException:
            self._lose(None)
            raise
        finally:
            del done  # its error refers to this frame

    def _give_up(self, timeout: float) -> None:
        self._end_handshake(ConnectionAbortedError(f"it took longer than {timeout:g} s"))

    def _shake(self) -> None:
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch_writing(False)
        except ssl.SSLWantWriteError:
            self._watch_writing(True)
        except OSError as exc:
            self._end_handshake(exc)
        else:
            self._end_handshake(None)

    def _end_handshake(self, error: OSError | None) -> None:
        done, self._done = self._done, None
        if done is None or done.done():
            return
        self._watch_writing(False)
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._fd)
        if error is not None:
            done.set_exception(error)
            return
        self._loop.add_reader(self._fd, self.read_ready)
        if self._hangups is not None:
            self._hangups.add(self._loop, self._fd, self._break_down)
        done.set_result(None)
        self._made = True
        self._protocol.connection_made(self)

    # -- reading

    def ended(self) -> None:
        self._protocol.eof_received()
        self.close()

    def failed(self, exc: Exception) -> None:
        if isinstance(exc, ssl.SSLWantReadError):
            return
        if isinstance(exc, ssl.SSLWantWriteError):
            # The peer asked for new keys, and takes no answer. It would be readable all the time.
            self._stalled = True
            self._loop.remove_reader(self._fd)
            self._watch_writing(True)
        elif isinstance(exc, (EOFError, ssl.SSLZeroReturnError)):
            self.ended()
        elif isinstance(exc, ssl.SSLEOFError):
            self._lose(None)  # it has closed without saying so
        elif isinstance(exc, OSError):
            self._lose(exc)
        else:
            self._loop.call_exception_handler(
                {"message": "a protocol failed", "exception": exc, "protocol": self._protocol}
            )
            self._lose(exc)

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        if self.is_reading():
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if self._paused and not self._closing:
            self._paused = False
            self._read_again()

    def _read_again(self) -> None:
        if not self._stalled:
            self._loop.add_reader(self._fd, self.read_ready)
            # Of these the socket does not tell.
            if self._broken or self._pending():
                self._loop.call_soon(self.read_ready)
            if self.queued and not self._writing:
                self._loop.call_soon(self._read_and_write)

    def _read_and_write(self) -> None:
        # The peer asked for new keys. Until these are agreed on, nothing can be written.
        if self.is_reading():
            self._loop.add_reader(self._fd, self.read_ready)
            self.read_ready()
        else:
            self._loop.remove_reader(self._fd)
        if not self._lost:
            self._write_queued()

    def _break_down(self) -> None:
        self._broken = True
        if self.is_reading():
            self.read_ready()
        elif self._closing:
            self._lose(None)

    # -- writing

    def writelines(self, chunks: list[bytes]) -> None:
        """Write all of them, in few records."""
        self.write(b"".join(chunks))

    def enqueue(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        self.queued.extend(view[at : at + LONG_WRITE] for at in range(0, len(view), LONG_WRITE))
        self._size += len(view)
        if not self._writing:
            self._write_queued()
        if self._size > self._high:
            self._tell_full()

    def refused(self, data: bytes, exc: OSError) -> None:
        if isinstance(exc, ssl.SSLWantWriteError):
            self._watch_writing(True)
            self.enqueue(data)
        elif isinstance(exc, ssl.SSLWantReadError):
            self.enqueue(data)
        else:
            self._lose(exc)

    def _write_ready(self) -> None:
        if self._done is not None:
            self._shake()
            return
        if self._stalled:
            self._stalled = False
            if self.is_reading():
                self._read_again()
                self.read_ready()  # that is what writes the answer
        self._write_queued()

    def _write_queued(self) -> None:
        queued, done = self.queued, 0
        try:
            for piece in queued:
                self._offer(piece)
                done += 1
                self._size -= len(piece)
        except ssl.SSLWantWriteError:
            self._watch_writing(True)
        except ssl.SSLWantReadError:
            self._watch_writing(False)
            self._loop.add_reader(self._fd, self._read_and_write)
        except OSError as exc:
            self._lose(exc)
            return
        else:
            self._watch_writing(False)
        del queued[:done]
        if self._full and self._size <= self._low:
            self._full = False
            self._protocol.resume_writing()
        if self._closing and not queued and not self._lost:
            self._say_goodbye()

    def _watch_writing(self, wanted: bool) -> None:
        if wanted and not self._writing:
            self._loop.add_writer(self._fd, self._write_ready)
        elif self._writing and not wanted:
            self._loop.remove_writer(self._fd)
        self._writing = wanted

    def _tell_full(self) -> None:
        if not self._full and not self._closing:
            self._full = True
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        """Bytes that the system has not taken. From any thread."""
        return self._size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low
        if self._size > high:
            self._tell_full()

    def can_write_eof(self) -> bool:
        return False

    # -- the end

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Write what is queued, say that nothing follows, and wait until the peer closes too."""
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._fd)
        self._timer = self._loop.call_later(_CLOSE_SECONDS, self.abort)
        if not self.queued:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        try:
            self._sock.unwrap()
        except ssl.SSLWantWriteError:
            self._watch_writing(True)
            return
        except ssl.SSLError:
            pass  # it is said; the peer has not, or sends still
        except (OSError, ValueError):
            self._lose(None)
            return
        else:
            self._lose(None)
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._lose(None)
        else:
            self._loop.add_reader(self._fd, self._discard)

    def _discard(self) -> None:
        # Closing a socket with unread bytes resets the connection.
        try:
            if self._sock.recv(_HIGH):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._lose(None)

    def abort(self) -> None:
        """Close at once; what is not written is lost."""
        self._lose(None)

    def _lose(self, exc: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._loop.remove_reader(self._fd)
        self._watch_writing(False)
        if self._hangups is not None:
            self._hangups.remove(self._loop, self._fd)
        if self._timer is not None:
            self._timer.cancel()
        self.queued.clear()
        self._size = 0
        self._loop.call_soon(self._forget, exc)

    def _forget(self, exc: Exception | None) -> None:
        self._sock.close()
        if self._made:
            self._protocol.connection_lost(exc)
        del self._protocol, self._take, self._took, self._fill, self._offer, self._pending

    # -- what is asked about it

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        self._take, self._took = protocol.get_buffer, protocol.buffer_updated

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As of asyncio's transports over TLS."""
        sock = self._sock
        try:
            if name == "socket":
                return TransportSocket(sock)
            if name == "sslcontext":
                return sock.context
            if name == "ssl_object":
                return sock
            ways: dict[str, Callable[[], Any]] = {
                "peername": sock.getpeername,
                "sockname": sock.getsockname,
                "peercert": sock.getpeercert,
                "cipher": sock.cipher,
                "compression": sock.compression,
            }
            return ways[name]() if name in ways else default
        except (OSError, ValueError, AttributeError):  # it has closed, or its TLS has ended
            return default
