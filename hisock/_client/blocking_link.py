"""A client's connection: a plain blocking socket, and the decoder behind it.

One thread at a time reads; any thread may send.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from hisock._client.connector import Socket
from hisock._client.options import ClientOptions
from hisock._core.raising import fresh
from hisock._runtime import sockets
from hisock._runtime.tls import TLSSocket
from hisock.exceptions import ConnectionLost, FramingError
from hisock.framing import Decoder, Frame

#: Seconds to flush the last frames when the client closes.
LINGER_SECONDS = 1.0
#: Bytes of plain text in a TLS record at most.
_RECORD = 16384
#: Seconds that the system is asked to wait at most; `poll` takes 24 days.
_LONGEST_LOOK = 86_400.0
_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)


class Link:
    """One connection to a server.

    :param sock: the connection; it belongs to this from now on.
    :ivar received: bytes that have come.
    """

    def __init__(self, sock: Socket, options: ClientOptions) -> None:
        self._decoder = Decoder(options.header_len, options.max_message_size)
        self._sending = threading.Lock()
        self._shut = False
        self.socket = sock
        self.local_addr = _local_address(sock)
        self.received = 0
        self._cut = 0
        #: How many bytes each read has brought whose frames have not been taken over yet.
        self._brought: list[int] = []
        #: Why sending failed; and the same where that was an interruption, which ends reading too.
        self.loss: ConnectionLost | None = None
        self.given_up: ConnectionLost | None = None

    def send(self, frame: bytes) -> None:
        """Send a whole frame; blocks while the server takes nothing. From any thread.

        :raises ConnectionLost: the connection has ended, or was closed on this side.
        """
        with self._sending:
            if self._shut:
                raise ConnectionLost("the connection to the server has ended")
            try:
                self.socket.sendall(frame)
            except OSError as exc:
                self.loss = _lost(exc)
                raise fresh(self.loss) from exc
            except BaseException:
                self._give_up("sending")
                raise

    def _give_up(self, what: str) -> ConnectionLost:
        """Ctrl-C came amid sending or reading: nothing may follow what may be half a frame."""
        text = f"the connection was given up, as {what} was interrupted"
        self.loss = self.given_up = given_up = ConnectionLost(text)
        self.abort()
        return given_up

    def send_many(self, frames: list[bytes]) -> int:
        """Send frames together; blocks while the server takes nothing. From any thread.

        :returns: how many of them were sent whole: fewer than all if the connection has ended.
        """
        with self._sending:
            if self._shut:
                return 0
            sent = 0
            # Over TLS, write one record at a time: a record arrives whole or not at all.
            most = _RECORD if isinstance(self.socket, TLSSocket) else sys.maxsize
            try:
                for data in _joined(frames, most):
                    sent += self._send_counting(data)
            except OSError as exc:
                self.loss = _lost(exc)
                sent += self._cut
            except BaseException:
                self._give_up("sending")
                raise
            return _whole_frames(frames, sent)

    def _send_counting(self, data: bytes) -> int:
        """Send all; ``_cut`` says how much of it was sent when that fails."""
        self._cut = 0
        if (first := self.socket.send(data)) < len(data):
            rest = memoryview(data)
            self._cut = first
            while self._cut < len(data):
                self._cut += self.socket.send(rest[self._cut :])
        return len(data)

    def send_now(self, frame: bytes) -> bool:
        """Send a frame if no thread is sending and the system takes it; never waits.

        :returns: whether it was sent; a part of it counts, since the connection is then over.
        """
        if not self._sending.acquire(blocking=False):
            return False
        try:
            with contextlib.suppress(OSError):
                return not self._shut and self.socket.send(frame, _DONT_WAIT) > 0
            return False
        finally:
            self._sending.release()

    def receive(self, timeout: float | None) -> list[Frame]:
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
            # Never block, even if the socket is readable: over TLS it may have half a record.
            flags = _DONT_WAIT
        brought = self._brought
        try:
            # One call from the system into the list: Ctrl-C comes before it has read, or after it
            # has noted that, and never in between.
            brought.extend(map(self.socket.recv_into, (buffer,), (0,), (flags,)))
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as exc:
            raise _lost(exc) from exc
        count = brought[-1]
        if not count:
            self.taken_over()
            raise ConnectionLost(self._why_ended())
        self.received += count
        try:
            return self._decoder.buffer_updated(count)
        except FramingError as exc:
            self.taken_over()
            raise _broken(exc) from exc

    def taken_over(self) -> None:
        """There are no frames of a read that the caller of :meth:`receive` has not noted."""
        self._brought.clear()
        if isinstance(self.socket, TLSSocket):
            self.socket.reading = False

    def require_whole(self) -> None:
        """Refuse to read on where Ctrl-C has come between a read and :meth:`taken_over`.

        :raises ConnectionLost: what that read has brought, some of it or all, is lost.
        """
        if self._brought or (isinstance(self.socket, TLSSocket) and self.socket.reading):
            raise fresh(self.given_up or self._give_up("reading"))

    def _why_ended(self) -> str:
        try:
            self._decoder.eof()
        except FramingError as exc:
            return f"the server closed the connection: {exc}"
        return "the server closed the connection"

    def _readable(self, timeout: float) -> bool:
        if isinstance(self.socket, TLSSocket) and self.socket.pending():
            return True
        timeout = min(timeout, _LONGEST_LOOK)
        if not hasattr(select, "poll"):
            return bool(select.select([self.socket], [], [], timeout)[0])
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

    def shut(self, last_frame: bytes | None) -> None:
        """Send one last frame, if any, and nothing more. From any thread, also while one reads.

        A thread that is in :meth:`send` gets a second to end. Then it is broken off: it would wait
        for as long as the server takes nothing.
        """
        if not self._sending.acquire(timeout=LINGER_SECONDS):
            self.abort()
            return
        try:
            if self._shut:
                return
            self._shut = True
            with contextlib.suppress(OSError):
                if last_frame is not None:
                    # A server that does not read must not delay closing.
                    self.socket.send(last_frame, _DONT_WAIT)
                self.socket.shutdown(socket.SHUT_WR)
        finally:
            self._sending.release()

    def abort(self) -> None:
        """Shut the socket down in both directions, which wakes threads that read or send."""
        self._shut = True
        with contextlib.suppress(OSError):
            self._raw.shutdown(socket.SHUT_RDWR)

    def drain(self) -> None:
        """Read, into nothing, until the server closes, so that it gets all that was sent.

        A socket closed with unread bytes in it resets the connection, which throws away what is
        still on its way out.
        """
        deadline = time.monotonic() + LINGER_SECONDS
        buffer = memoryview(bytearray(65536))
        with contextlib.suppress(OSError, ValueError):
            while (left := deadline - time.monotonic()) > 0:
                if not self._readable(left) or not self._discard(buffer):
                    break
        self.close()

    def _discard(self, buffer: memoryview) -> bool:
        """Receive once without waiting; ``False`` at the end of the stream."""
        try:
            return self.socket.recv_into(buffer, 0, _DONT_WAIT) > 0
        except (BlockingIOError, InterruptedError):
            return True  # half a TLS record

    @property
    def _raw(self) -> socket.socket:
        """The system's socket, below TLS."""
        return self.socket.raw if isinstance(self.socket, TLSSocket) else self.socket

    def forget(self) -> None:
        """Give up this process's copy of the connection, which another process goes on using."""
        # A thread that is not in this process may have held the locks, and those of TLS.
        self._shut, self._sending, self.socket = True, threading.Lock(), self._raw
        sockets.disown(self._raw)

    def close(self) -> None:
        """Close the socket."""
        self.abort()
        self.socket.close()


def _joined(frames: list[bytes], most: int) -> Iterator[bytes]:
    """The frames, joined into pieces of at most ``most`` bytes, or of one frame."""
    piece: list[bytes] = []
    size = 0
    for frame in frames:
        if piece and size + len(frame) > most:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(frame)
        size += len(frame)
    if piece:
        yield b"".join(piece)


def _whole_frames(frames: list[bytes], size: int) -> int:
    """How many of the frames lie within the first ``size`` bytes of all."""
    for number, end in enumerate(itertools.accumulate(map(len, frames))):
        if end > size:
            return number
    return len(frames)


def _local_address(sock: Socket) -> Any:
    return sockets.local_address(sock.raw if isinstance(sock, TLSSocket) else sock)


def _lost(exc: OSError) -> ConnectionLost:
    return ConnectionLost(f"the connection to the server ended: {sockets.why_lost(exc)}")


def _broken(exc: FramingError) -> ConnectionLost:
    return ConnectionLost(f"the server sent what is no frame: {exc}")
