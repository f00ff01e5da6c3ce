"""One turn of a connection, in Python: from the bytes of a read to the answer that is written.

Same as ``_turn.pyx``; ``tests/framing/test_turn.py`` compares the two. What happens rarely is left
to the classes that inherit from these.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hisock._framing_common import LONGEST_DIRECT, MANY, SHORT_READ
from hisock._framing_py import Decoder, Frame
from hisock._outbox_py import Outbox
from hisock.exceptions import FramingError


class FlushQueue:
    """The readers whose peers are to be written to, in order.

    :ivar queue: outboxes append their owners to it, from any thread, so it is never replaced.
    :ivar due: whether a turn is due when the read under way ends.
    :ivar written: how many readers have left the queue since the start.
    :ivar is_current: whether the caller runs in the thread that reads; the compiled one knows.
    """

    __slots__ = ("_reading", "due", "queue", "written")

    is_current: Callable[[], bool]

    def __init__(self) -> None:
        self.queue: list[Any] = []
        self.due = False
        self.written = 0
        self._reading = False

    def schedule_turn(self) -> None:
        """Write to those in the queue in the next iteration. From any thread."""
        raise NotImplementedError

    def turn_soon(self) -> None:
        """The same, from the thread of the loop."""
        raise NotImplementedError

    def schedule(self) -> None:
        """Write to those in the queue, after the reads of this iteration. From any thread."""
        if self._reading and self.is_current():
            self.due = True
        else:
            self.schedule_turn()

    def flush_first(self, most: int, /) -> None:
        """Write to the first of those in the queue, at most so many; those behind them stay.

        If it fails for one, the others are in the queue again.
        """
        queue = self.queue
        batch = queue[:most]
        del queue[: len(batch)]
        self.written += len(batch)
        at = 0
        try:
            for reader in batch:
                at += 1
                if not isinstance(reader, Reader):
                    raise TypeError(f"the queue holds readers, not {type(reader).__name__}")
                reader.writer.flush()
        except BaseException:
            self.written -= len(batch) - at
            queue[:0] = batch[at:]
            raise

    def finish(self, reader: Reader) -> None:
        """Write what the handlers of a reader have sent.

        An answer to its own peer is written at once, which saves an iteration of the loop. Frames
        for others wait until all are read, since the next may add to them.
        """
        self.due = False
        queue = self.queue
        if len(queue) == 1 and queue[0] is reader:
            del queue[0]
            self.written += 1
            reader.writer.flush()
        if queue:
            self.turn_soon()


class Flusher:
    """Gives a transport what waits in an outbox.

    A transport takes a quarter of what a small answer costs outside of the kernel. Where it does
    nothing but write to a socket, the socket is written to first, and the transport gets the rest.

    :ivar descriptor: of the socket that the transport writes to unchanged; -1 for none, and once
        the transport has let go of it: the number may be another socket's then.
    :ivar loop_closed: says whether the loop has been closed, and the socket with it, which nobody
        is told; ``None`` where the transport keeps its socket even then.
    :ivar behind: whether the transport may hold something, which is to be written first.
    :ivar paused: whether the transport's buffer is full.
    :ivar latest: newest states that wait beside the outbox; ``None`` for none.
    """

    __slots__ = (
        "_ending",
        "_transport",
        "behind",
        "descriptor",
        "latest",
        "loop_closed",
        "outbox",
        "paused",
    )

    _transport: Any

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.descriptor = -1
        self.loop_closed: Callable[[], bool] | None = None
        self.behind = False
        self.paused = False
        self.latest: dict[str, bytes] | None = None
        self._ending = False

    def flush_chunks(self, chunks: list[bytes]) -> None:
        """Give the transport no chunk, or several, and newest states."""
        raise NotImplementedError

    def fall_behind(self, largest: int) -> None:
        """The transport's buffer is full now: apply the limits.

        :param largest: bytes of the longest chunk that it was given just now.
        """
        raise NotImplementedError

    def flush(self) -> None:
        """Give the transport all queued frames, unless its buffer is full."""
        if self.paused and not self._ending:
            return  # resume() flushes later
        chunks = self.outbox.take()
        if len(chunks) != 1 or self.latest is not None:
            self.flush_chunks(chunks)
            return
        self.write(chunks[0])
        if self.paused and not self._ending:
            self.fall_behind(len(chunks[0]))

    def write(self, chunk: bytes, /) -> None:
        """Write a chunk: what the socket takes at once, and the rest through the transport."""
        transport, sent = self._transport, 0
        if self.descriptor >= 0 and self.loop_closed is not None and self.loop_closed():
            self.descriptor = -1
        if self.descriptor >= 0:
            if len(chunk) > LONGEST_DIRECT:
                self.behind = True
            elif self.behind:
                # One that is aborted has dropped what it held, and nothing may follow that.
                self.behind = transport.get_write_buffer_size() > 0 or transport.is_closing()
            if not self.behind:
                try:
                    sent = os.write(self.descriptor, chunk)
                except OSError:
                    sent = 0
                if sent == len(chunk):
                    return
                self.behind = True
        # Whatever was wrong, the transport finds it as well, and says it to its protocol.
        try:
            transport.write(chunk[sent:] if sent else chunk)
        except BaseException:  # nothing may follow what is lost, or half of a frame
            transport.abort()
            raise


class Reader:
    """One peer: takes what is received, and calls the handlers.

    :param events: dispatches the frames.
    :ivar info: what handlers get as their first argument.
    :ivar writer: writes to the same peer.
    :ivar limit: how many messages it may send now; ``None`` for any number.
    :ivar joined: its place in the order of joining, 0 before.
    :ivar busy: how many handlers must end before its next frame is handled.
    :ivar held: bytes of memory that an incomplete frame occupies.
    :ivar alive: set when anything arrives.
    """

    __slots__ = (
        "_batch",
        "_decoder",
        "_ended",
        "_events",
        "_flushing",
        "alive",
        "busy",
        "held",
        "info",
        "joined",
        "limit",
        "writer",
    )

    info: Any
    writer: Any

    def __init__(self, events: Any, decoder: Decoder, flushing: Any) -> None:
        self.limit: Any = None
        self.joined = 0
        self.busy = 0
        self.held = 0
        self.alive = True
        self._ended = False
        self._decoder = decoder
        self._flushing = flushing
        self._events = events
        # The frames that are being dispatched; emptied when it ends.
        self._batch: list[Frame] | None = None

    def take_batch(self, frames: list[Frame]) -> None:
        """Handle frames that are many, or limited, or may have to wait."""
        raise NotImplementedError

    def read_much(self, nbytes: int) -> None:
        """A read with frames has brought so many bytes, at least ``SHORT_READ``."""
        raise NotImplementedError

    def hold(self, held: int) -> None:
        """Account for the memory that an incomplete frame occupies."""
        raise NotImplementedError

    def fail_if_idle(self) -> None:
        """The stream holds an error, behind the frames that were handled."""
        raise NotImplementedError

    def interrupt(self, exc: BaseException) -> None:
        """A handler ends the program."""
        raise NotImplementedError

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes that were received into the decoder's buffer. Called by the loop."""
        if self._ended:
            return
        self.alive = True
        try:
            frames = self._decoder.buffer_updated(nbytes)
        except FramingError:
            frames = []
        if frames:
            self._handle(frames)
            if nbytes >= SHORT_READ:
                self.read_much(nbytes)
        self._after_read()

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes that were received into another buffer."""
        if self._ended:
            return
        self.alive = True
        try:
            frames = self._decoder.feed(data)
        except FramingError:
            frames = []
        if frames:
            self._handle(frames)
        self._after_read()

    def _after_read(self) -> None:
        decoder = self._decoder
        held = decoder.held
        if held != self.held:
            self.hold(held)
        if decoder.error is not None:
            self.fail_if_idle()

    def dispatch_all(self, frames: list[Frame], /) -> None:
        """Call the handlers of frames, in order; the list is used up."""
        self._batch = frames
        self._events.dispatch(self, iter(frames))
        self._batch = None

    def _handle(self, frames: list[Frame]) -> None:
        """Dispatch a batch of frames, then write what its handlers sent."""
        flushing = self._flushing
        flushing._reading = True
        try:
            if self.limit is None and self.joined and not self.busy and len(frames) < MANY:
                self.dispatch_all(frames)
            else:
                self.take_batch(frames)
        except (SystemExit, KeyboardInterrupt) as exc:
            self.interrupt(exc)
        finally:
            flushing._reading = False
            if flushing.due:
                flushing.finish(self)
