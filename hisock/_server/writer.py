"""The writing side of one connection: what waits to be written, and how much of it may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hisock._runtime import sockets
from hisock._runtime.draining import in_transport
from hisock._runtime.loops import write_chunks
from hisock.framing import Outbox

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

#: Newest states are joined when they are written, if they are at most this long together (bytes).
_MOST_JOINED = 65536


class Writer:
    """What waits for one client: its outbox, newest states, and the protocol's own frames.

    Everything runs on the loop's thread, except what says otherwise.

    :ivar outbox: the frames that wait, in order.
    :ivar paused: whether the transport takes no more at the moment: the client is behind.
    :ivar latest: by key, frames of which only the newest counts, and which are not written yet.
    :ivar latest_bytes: how long these are together.
    :ivar dropped: frames that were not taken because too much waits, but for the outbox's own.
    """

    __slots__ = (
        "_connection",
        "_control",
        "_control_bytes",
        "_ending",
        "_hub",
        "_largest",
        "_latest_bytes_before",
        "_latest_frames_before",
        "_transport",
        "_unanswered",
        "dropped",
        "latest",
        "latest_bytes",
        "outbox",
        "paused",
    )

    _transport: asyncio.Transport

    def __init__(self, connection: Connection, hub: Hub) -> None:
        self.outbox = Outbox(
            hub.flushing.queue, connection, hub.schedule, hub.header_len, hub.overfull
        )
        self.outbox.limit = hub.options.send_buffer
        self.outbox.sender = hub.sender
        self.paused = False
        self.latest: dict[str, bytes] | None = None
        self.latest_bytes = 0
        self.dropped = 0
        self._connection = connection
        self._control: list[bytes] | None = None
        self._control_bytes = 0
        self._ending = False
        self._hub = hub
        #: Questions whether the client is there, to which it has not answered yet.
        self._unanswered = 0
        #: The longest chunk that was written at once, where that was longer than may wait.
        self._largest = 0
        # What was taken already, for statistics.
        self._latest_frames_before = 0
        self._latest_bytes_before = 0

    def start(self, transport: asyncio.Transport) -> None:
        """Write to a transport from now on."""
        self._transport = transport

    # -- writing

    def flush(self) -> None:
        """Give the transport what waits, unless it is still busy with what it has."""
        if self.paused and not self._ending:
            return  # resume() comes back to it
        chunks = self.outbox.take()
        if self.latest is not None:
            self._add_latest(chunks)
        if len(chunks) == 1:  # mostly
            self._transport.write(chunks[0])
        elif chunks:
            write_chunks(self._transport, chunks)
        if self.paused and not self._ending:
            # One large message may pass the limit; it counts for nothing while it drains.
            largest = max(map(len, chunks), default=0)
            if largest > self._hub.options.send_buffer:
                self._largest = largest
            self._check_backlog()

    def resume(self) -> None:
        """The transport takes more again."""
        self.paused = False
        self._largest = 0
        if not self._ending:
            self._accept_again()
            self.flush()

    def _accept_again(self) -> None:
        """Refuse nothing any more, and queue what went past the refusal."""
        with self._hub.lock:
            self.outbox.refusing = False
            self.outbox.limit = self._hub.options.send_buffer - self.latest_bytes
            control, self._control = self._control, None
            self._control_bytes = 0
        for frame in control or ():
            self.outbox.write(frame)

    def write_control(self, frame: bytes) -> bool:
        """Write a frame of the protocol's own, which no policy for slow clients refuses.

        While others are refused it waits apart, behind what the outbox holds. A client for which
        more than ``send_buffer`` bytes wait like that is ended: it asks, and reads no answers.
        From any thread.

        :returns: whether the connection is still there.
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
        if self._control_bytes > max(self._hub.options.send_buffer, len(frame)):
            self._hub.thread.post(self._hub.pressure.too_many_answers, self._connection)
        return True

    def write_latest(self, key: str, frame: bytes) -> bool:
        """Write a frame, in place of an older one with that key which is not written yet.

        From any thread.

        :returns: whether it was taken.
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
        if latest is None and not self.paused:
            self._hub.flushing.add(self._connection)
        if outbox.size > outbox.limit and not outbox.refusing:
            self._hub.overfull(self._connection)
        return True

    def ask(self, question: bytes) -> None:
        """Ask whether the client is there."""
        self._unanswered += 1
        self.write_control(question)

    def confirmed(self) -> None:
        """The client has answered a question, and so has read what came before it."""
        if self._unanswered:
            self._unanswered -= 1
        if self.latest is not None and not self.paused:
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
            return  # confirmed() comes back to it
        size = self.latest_bytes
        frames = self._take_latest()
        if most:
            # The answer tells that the client has read them, which the system cannot.
            self._unanswered += 1
            frames.append(self._hub.question)
        if len(frames) > 1 and size <= _MOST_JOINED:
            frames = [b"".join(frames)]
        chunks += frames

    # -- how much waits

    def backlog(self) -> int:
        """Bytes that are sent but not yet taken by the operating system. From any thread."""
        return self.outbox.size + self.latest_bytes + self._control_bytes + self._in_transport()

    def unsent(self) -> int:
        """Bytes that the operating system has taken, and the client has not received yet."""
        return sockets.unsent(self._transport.get_extra_info("socket"))

    def _in_transport(self) -> int:
        return in_transport(self._transport)

    def _check_backlog(self) -> None:
        """Allow as much more as may wait, now that the transport takes no more."""
        waits = self._in_transport()
        bound = self._hub.options.send_buffer + self._largest
        queued = self.outbox.size + self.latest_bytes
        if waits + queued > bound:
            self._hub.pressure.behind(self._connection, waits + queued)
        else:
            self.outbox.limit = bound - waits - self.latest_bytes

    def relieve(self) -> None:
        """More waits than may: write it at once, or see whose fault it is."""
        if self.paused:
            self._check_backlog()
        else:
            self.flush()

    @property
    def full(self) -> bool:
        """Whether more waits than may."""
        return self.outbox.size > self.outbox.limit

    @property
    def taken(self) -> tuple[int, int]:
        """How many frames were given to the transport, and how many bytes they had."""
        return (
            self.outbox.taken_frames + self._latest_frames_before,
            self.outbox.taken_bytes + self._latest_bytes_before,
        )

    # -- the end

    def write_last(self, frame: bytes) -> None:
        """Queue the last frame, behind everything else that waits."""
        self._accept_again()
        for newest in self._take_latest():
            self.outbox.write(newest)
        self.outbox.write(frame)

    def end(self) -> None:
        """Give the transport what waits, whether it is busy or not; then take nothing more."""
        self._ending = True
        self.flush()
        self.drop()

    def say_end(self) -> None:
        """Say that nothing follows, where :meth:`Connection.finish_writing` cannot: over TLS.

        asyncio takes what a client sends after that for an error, and drops what is not written.
        So everything has to be.
        """
        if not self._transport.can_write_eof():
            self._transport.close()

    def drop(self) -> None:
        """Drop what waits and take nothing more."""
        self._ending = True
        self.outbox.close()
        with self._hub.lock:
            self.latest = None
            self.latest_bytes = 0
            self._control = None
            self._control_bytes = 0
