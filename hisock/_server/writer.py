"""The writing side of one connection: its queues, and their high-water marks."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from hisock._runtime import sockets
from hisock._runtime.draining import in_transport
from hisock._runtime.transport_flusher import TransportFlusher
from hisock.framing import Outbox

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

#: Bytes up to which newest states are joined into one chunk when they are written.
_MOST_JOINED = 65536
#: Bytes that wait in a transport until it says that it is behind, where nothing else is set.
_USUAL_BUFFER = 65536
#: The same for a transport of TLS.
_USUAL_TLS_BUFFER = 8 * _USUAL_BUFFER


class Writer(TransportFlusher):
    """The queues of one client: its outbox, newest states, and control frames.

    Everything runs on the loop's thread, except what says otherwise.

    :ivar outbox: the queued frames, in order.
    :ivar paused: whether the transport's buffer is full: the client is behind.
    :ivar latest: newest states that are not written yet, by key.
    :ivar latest_bytes: how long these are together.
    :ivar socket: that under its transport, as it was accepted, or under one of TLS, which may not
        answer another thread; else ``None``.
    :ivar dropped: newest states that were refused; the outbox counts its own refused frames.
    """

    __slots__ = (
        "_connection",
        "_control",
        "_control_bytes",
        "_hub",
        "_largest",
        "_latest_bytes_before",
        "_latest_frames_before",
        "_unanswered",
        "dropped",
        "latest_bytes",
        "socket",
    )

    def __init__(self, connection: Connection, hub: Hub) -> None:
        super().__init__(
            Outbox(hub.flushing.queue, connection, hub.schedule, hub.header_len, hub.overfull)
        )
        self.outbox.limit = hub.options.send_buffer
        self.outbox.sender = hub.sender
        self.latest_bytes = 0
        self.socket: Any = None
        self.dropped = 0
        #: ``None`` once its transport has closed.
        self._connection: Connection | None = connection
        self._control: list[bytes] | None = None
        self._control_bytes = 0
        self._hub = hub
        #: Keepalives that the client has not answered yet.
        self._unanswered = 0
        #: The longest chunk of the last flush, if it was longer than ``send_buffer``.
        self._largest = 0
        # Newest states written so far, for statistics.
        self._latest_frames_before = 0
        self._latest_bytes_before = 0

    def start(self, transport: asyncio.Transport) -> None:
        """Write to a transport from now on."""
        self.attach(transport, self.socket)
        tls = self._hub.options.tls is not None
        if tls:
            self.socket = transport.get_extra_info("socket")
        share = self._hub.options.send_buffer // 2
        if share < (_USUAL_TLS_BUFFER if tls else _USUAL_BUFFER):
            # Else the client would be over its limit by the time that it is seen to be behind.
            transport.set_write_buffer_limits(high=share)

    # -- writing

    def flush_chunks(self, chunks: list[bytes]) -> None:
        """Give the transport no chunk, or several, and newest states."""
        if self.latest is not None:
            self._add_latest(chunks)
        self.write_all(chunks)
        if self.paused and not self._ending:
            self.fall_behind(max(map(len, chunks), default=0))

    def flush_gathered(self, end: int) -> None:
        """Flush as well the announcements that are gathered, up to number ``end``.

        What came after that stays gathered, so that all clients share the bytes.
        """
        if self.outbox.size or self.latest is not None:
            self.flush()
        elif not self.paused:
            chunks = self.outbox.take_until(end)
            self.write_all(chunks)
            if self.paused:
                self.fall_behind(max(map(len, chunks), default=0))

    def fall_behind(self, largest: int) -> None:
        """The transport's buffer is full now: apply the limits.

        One message larger than the limit is allowed, and not counted while it drains.
        """
        if largest > self._hub.options.send_buffer:
            self._largest = largest
        self._check_backlog()

    def resume(self) -> None:
        """The transport's buffer has drained: flush the queues."""
        self.paused = False
        self._largest = 0
        if not self._ending:
            self._accept_again()
            self.flush()

    def _accept_again(self) -> None:
        """Stop refusing frames, and queue the control frames that were held meanwhile."""
        with self._hub.lock:
            self.outbox.refusing = False
            self.outbox.limit = self._hub.options.send_buffer - self.latest_bytes
            control, self._control = self._control, None
            self._control_bytes = 0
        for frame in control or ():
            self.write_control(frame)

    def write_control(self, frame: bytes) -> bool:
        """Write a control frame, which no policy for slow clients refuses.

        While the outbox refuses frames, control frames queue up apart, behind those in the outbox.
        If they exceed ``send_buffer`` bytes, the connection is ended, because the client asks but
        does not read the answers. From any thread.

        :returns: whether the connection is still open.
        """
        if not self.outbox.refusing and self.outbox.write(frame):
            return True
        with self._hub.lock:
            if self.outbox.closed:
                return False
            held = self.outbox.refusing
            if held:
                if self._control is None:
                    self._control = []
                self._control.append(frame)
                self._control_bytes += len(frame)
        if not held:
            return self.outbox.write(frame)
        connection = self._connection
        most = max(self._hub.options.send_buffer, len(frame))
        if self._control_bytes > most and connection is not None:
            self._hub.thread.post(self._hub.backpressure.control_over_limit, connection)
        return True

    def write_latest(self, key: str, frame: bytes) -> bool:
        """Write a frame; it replaces an older one with that key that is not written yet.

        From any thread.

        :returns: whether it was accepted.
        """
        outbox = self.outbox
        with self._hub.lock:
            latest = self.latest
            replaced = None if latest is None else latest.get(key)
            if outbox.closed or (outbox.refusing and replaced is None):
                self.dropped += not outbox.closed
                return False
            if latest is None:
                self.latest = {key: frame}
            else:
                latest[key] = frame
            grown = len(frame) - len(replaced or b"")
            self.latest_bytes += grown
            outbox.limit -= grown
        connection = self._connection
        if connection is None:
            return False
        if latest is None and not self.paused:
            self._hub.flushing.add(connection)
        if outbox.size > outbox.limit and not outbox.refusing:
            self._hub.overfull(connection)
        return True

    def send_keepalive(self, frame: bytes) -> None:
        """Send a keepalive."""
        self._unanswered += 1
        self.write_control(frame)

    def keepalive_answered(self) -> None:
        """The client has answered a keepalive, and so has read everything before that."""
        if self._unanswered:
            self._unanswered -= 1
        if self.latest is not None and not self.paused and self._connection is not None:
            self._hub.flushing.add(self._connection)

    def _take_latest(self) -> list[bytes]:
        with self._hub.lock:
            frames = list((self.latest or {}).values())
            self.latest = None
            self._latest_frames_before += len(frames)
            self._latest_bytes_before += self.latest_bytes
            self.outbox.limit += self.latest_bytes
            self.latest_bytes = 0
        return frames

    def _add_latest(self, chunks: list[bytes]) -> None:
        most = self._hub.options.latest_ahead
        if most and self._unanswered >= most and not self._ending:
            return  # keepalive_answered() writes them later
        size = self.latest_bytes
        frames = self._take_latest()
        if most:
            # Its answer shows that the client has read them, which the kernel cannot tell.
            self._unanswered += 1
            frames.append(self._hub.frames.keepalive)
        if len(frames) > 1 and size <= _MOST_JOINED:
            frames = [b"".join(frames)]
        chunks += frames

    # -- how much waits

    def backlog(self) -> int:
        """Bytes that are queued and not yet taken by the kernel. From any thread."""
        return self.outbox.size + self.latest_bytes + self._control_bytes + self._in_transport()

    def unsent(self) -> int:
        """Bytes that the kernel has taken and the client has not acknowledged yet."""
        return sockets.unsent(self.socket or self._transport.get_extra_info("socket"))

    def _in_transport(self) -> int:
        return in_transport(self._transport)

    def _check_backlog(self) -> None:
        """Set the outbox's high-water mark while the transport is full, or apply the policy."""
        if self._connection is None:
            return
        waits = self._in_transport()
        bound = self._hub.options.send_buffer + self._largest
        queued = self.outbox.size + self.latest_bytes
        if waits + queued > bound:
            self._hub.backpressure.over_limit(self._connection, waits + queued)
        else:
            self.outbox.limit = bound - waits - self.latest_bytes

    def relieve(self) -> None:
        """The outbox is over its limit: flush it, or apply the policy if the client is behind."""
        if self.paused:
            self._check_backlog()
        else:
            self.flush()

    @property
    def full(self) -> bool:
        """Whether the outbox is over its limit."""
        return self.outbox.size > self.outbox.limit

    @property
    def taken(self) -> tuple[int, int]:
        """How many frames and bytes were given to the transport."""
        return (
            self.outbox.taken_frames + self._latest_frames_before,
            self.outbox.taken_bytes + self._latest_bytes_before,
        )

    # -- the end

    @property
    def closing(self) -> bool:
        """Whether the transport is closed, or lost and yet to say so."""
        return self._transport.is_closing()

    def write_last(self, frame: bytes) -> None:
        """Queue the last frame, behind everything else that is queued.

        The policy for slow clients is not asked any more, since it might refuse the frame.
        """
        newest = self._take_latest()
        with self._hub.lock:
            self.outbox.refusing = False
            self.outbox.limit = sys.maxsize
            control, self._control = self._control, None
            self._control_bytes = 0
        for last in (*(control or ()), *newest, frame):
            self.outbox.write(last)

    def end(self) -> None:
        """Give the transport all queued frames even if its buffer is full, and accept no more."""
        self._ending = True
        self.flush()
        self.drop()

    def close_if_no_eof(self) -> None:
        """Close a transport that cannot half-close, as over TLS, after everything is written.

        asyncio treats what a client sends after that as an error, and drops unwritten bytes. It
        forgets a transport that is closed twice, and nothing closes the socket any more.
        """
        if not self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.close()

    def release(self) -> None:
        """Let go of the connection, which holds this, and of the transport, which may hold it."""
        self._connection = None
        super().release()
        self.socket = None

    def drop(self) -> None:
        """Drop all queued frames, and accept no more."""
        self._ending = True
        self.outbox.close()
        with self._hub.lock:
            self.latest = None
            self.latest_bytes = 0
            self._control = None
            self._control_bytes = 0
