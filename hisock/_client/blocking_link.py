"""A client's connection: a plain blocking socket, and the decoder behind it.

One thread at a time reads; any thread may send.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from hisock._client.connector import Socket
from hisock._client.options import ClientOptions
from hisock._client.session import Owner, Session, State
from hisock._client.vigil import Verdict, Vigil
from hisock._core.raising import fresh
from hisock._runtime import sockets
from hisock._runtime.tls import TLSSocket
from hisock.exceptions import ConnectionLost, FramingError
from hisock.framing import Decoder, Frame

#: Seconds to flush the last frames when the client closes.
LINGER_SECONDS = 1.0
#: Bytes of plain text in a TLS record at most.
_RECORD = 16384
#: Bounds for frames and bytes that are read ahead of their handlers.
AHEAD_FRAMES = 1024
AHEAD_BYTES = 4 * 1024 * 1024
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
                self.loss = ConnectionLost(f"the connection to the server ended: {exc}")
                raise fresh(self.loss) from exc
            except BaseException:
                self._break_off()
                raise

    def _break_off(self) -> None:
        """Sending was interrupted, as by Ctrl-C: nothing may follow what may be half of a frame."""
        given_up = ConnectionLost("the connection was given up, as sending was interrupted")
        self.loss = self.given_up = given_up
        self.abort()

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
                self.loss = ConnectionLost(f"the connection to the server ended: {exc}")
                sent += self._cut
            except BaseException:
                self._break_off()
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
        try:
            count = self.socket.recv_into(buffer, 0, flags)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as exc:
            raise ConnectionLost(f"the connection to the server ended: {exc}") from exc
        if not count:
            raise ConnectionLost(self._why_ended())
        self.received += count
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


def _broken(exc: FramingError) -> ConnectionLost:
    return ConnectionLost(f"the server sent what is no frame: {exc}")


class BlockingOwner(Owner, Protocol):
    """The client that a blocking session belongs to."""

    def write_failed(self, session: Any) -> None:
        """A thread could not send: the connection has ended, perhaps without a reader."""


class BlockingSession(Session):
    """One connection over a blocking socket.

    :ivar pending: the frames that have come and are not handled yet.
    :ivar earlier: how many of those had come before something was sent, with the number that they
        have for waiters; several times that, oldest first.
    :ivar loss_ahead: the end of the connection, found by reading ahead.
    """

    owner: BlockingOwner

    def __init__(
        self, owner: BlockingOwner, link: Link, identity: tuple[str | None, str | None]
    ) -> None:
        super().__init__(owner, identity)
        self.link = link
        self.pending: Iterator[Frame] = iter(())
        self.earlier: deque[tuple[int, int]] = deque()
        self.loss_ahead: ConnectionLost | None = None
        self._ahead = 0
        #: Set when the handler of ``reconnect`` or the session has ended.
        self.handled = threading.Event()
        #: Set when the offline buffer has been sent, or sending it has failed.
        self.settled = threading.Event()
        self._vigil: Vigil | None = None

    def write(self, frame: bytes) -> None:
        """Send a whole frame; blocks while the server takes nothing.

        :raises ConnectionLost: the connection has ended.
        :raises ClientDisconnected: the client is closed.
        """
        try:
            self.link.send(frame)
        except ConnectionLost:
            if self.ended:
                raise self.error() from None
            # Wake the reading thread: a goodbye may be among the unread bytes.
            self.link.abort()
            self.owner.write_failed(self)
            raise

    def write_many(self, frames: list[bytes]) -> int:
        """Send frames together; returns how many were sent whole, before the connection ended."""
        sent = self.link.send_many(frames)
        if sent < len(frames) and not self.ended:
            self.link.abort()
            self.owner.write_failed(self)
        return sent

    def forget(self, reason: Exception) -> None:
        super().forget(reason)
        self.pending = iter(())
        self.link.forget()

    @property
    def broken(self) -> bool:
        """Whether nothing can be sent on it."""
        return self.ended or self.link.loss is not None

    def defer(self, frames: Iterator[Frame]) -> None:
        """Never needed: no handler of a blocking client is still running when it returns."""

    def hold(self, frames: list[Frame]) -> None:
        """Frames have come; the first ones say what the server knows."""
        if frames and self.state is State.GREETING:
            frames = self.take_greeting(frames)
            if self.silence is not None:
                self._vigil = Vigil(self.silence, time.monotonic())
        self.batch = frames
        self.pending = iter(frames)

    def receive(self, timeout: float | None) -> list[Frame]:
        """Receive once; see :meth:`Link.receive`.

        :raises ConnectionLost: the connection has ended, or the server is silent for too long.
        """
        vigil = self._vigil
        if vigil is None:
            return self.link.receive(timeout)
        before = self.link.received
        left = max(0.0, vigil.due - time.monotonic())
        frames = self.link.receive(left if timeout is None else min(left, timeout))
        now = time.monotonic()
        if self.link.received != before:
            vigil.heard(now)
            return frames
        verdict = vigil.look(now)
        if verdict is Verdict.ASK:
            self.probe(self.link.send_now)
        elif verdict is Verdict.LOST:
            raise vigil.lost()
        return frames

    def read_ahead(self) -> int:
        """Take what has come off the system, to be handled later, and within a bound.

        :returns: how many frames wait to be handled, beside those in ``earlier``.
        """
        waiting = operator.length_hint(self.pending)
        if not waiting:
            self.earlier.clear()
            self._ahead = 0
        frames: list[Frame] = []
        try:
            while waiting + len(frames) < AHEAD_FRAMES and self._ahead < AHEAD_BYTES:
                before = self.link.received
                frames += self.receive(0)
                self._ahead += self.link.received - before
                if self.link.received == before:
                    break
        except ConnectionLost as exc:  # found again after these frames, where a thread reads
            self.loss_ahead = fresh(self.link.given_up or exc)
        if frames:
            self.hold([*self.pending, *frames])
        return operator.length_hint(self.pending) - sum(count for count, _ in self.earlier)

    def receive_rest(self) -> list[Frame]:
        """What has come on a connection that is broken; nothing follows."""
        frames: list[Frame] = []
        try:
            while True:
                frames += self.link.receive(0)
        except ConnectionLost:
            return frames
