"""One client on the server's event loop: its bytes, its frames, its end.

How bytes arrive and how they leave is decided here and nowhere else. Reading: the loop receives
into the buffer that the decoder names, and every frame that is complete then is dispatched.
Writing: what is sent gathers in the outbox, and the hub writes the outboxes in turn, each at most
once per iteration of the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from hisock._core import protocol
from hisock._core.calls import CallTable, build_answer
from hisock._core.client_info import ClientInfo
from hisock._core.events import EventTable
from hisock._core.jobs import RawFrame
from hisock._core.ordering import Ordering
from hisock._core.rates import RateLimit
from hisock._core.reporting import without_bytes
from hisock._runtime import sockets
from hisock._runtime.loops import write_chunks
from hisock._server.stats import Figures
from hisock.exceptions import ConnectionLost, FramingError, ProtocolError
from hisock.framing import Decoder, Outbox, build_raw

if TYPE_CHECKING:
    from hisock._server.hub import Hub

#: Seconds that a connection which the server ends may take to read its last frames.
LINGER_SECONDS = 1.0
#: Bytes that one read of a connection takes at most, but for large messages.
RECEIVE_SIZE = 65536
#: Bytes in one read that count as much while others wait in line to be written to.
_MUCH = 16384
#: The batch between two batches; it stays empty.
_NO_FRAMES: list[RawFrame] = []


class Head:
    """Stands first in the line of those to write to while a connection is read."""

    def flush(self) -> None:
        """Write nothing."""


HEAD = Head()


class ReadOn:
    """Stands in the line of those to write to for a connection that is to be read again."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def flush(self) -> None:
        """Read it again."""
        self._connection.set_reading(True)


class Connection(Ordering, asyncio.BufferedProtocol):
    """A client, from the moment it connects.

    :ivar info: who it is; a placeholder until the hello.
    :ivar joined: its place in the order of joining, 0 until the hello.
    :ivar held: bytes of an incomplete frame that it has sent.
    :ivar alive: whether anything has come from it since the last keepalive.
    :ivar busy: how many async handlers must end before its next frame is handled.
    :ivar features: what it knows beyond 2.0.2; ``None`` if nothing.
    :ivar paused: whether it is behind: it takes what is sent slower than it is sent.
    :ivar latest: by key, frames of which only the newest counts, and which are not written yet.
    :ivar resume: its secret, if it comes back after losing a connection.
    :ivar calls: the calls to this client that wait for replies.
    :ivar session: what the program keeps for this connection.
    """

    __slots__ = (
        "__weakref__",
        "_batch",
        "_decoder",
        "_ended",
        "_eof",
        "_holds",
        "_largest",
        "_limit",
        "_lost_by",
        "_original",
        "_transport",
        "alive",
        "calls",
        "features",
        "get_buffer",
        "held",
        "hub",
        "info",
        "joined",
        "latest",
        "outbox",
        "paused",
        "resume",
        "rooms",
        "session",
    )

    _transport: asyncio.Transport
    info: ClientInfo

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.joined = 0
        self.alive = True
        self.paused = False
        self.busy = 0
        self.features: frozenset[str] | None = None
        self.resume: str | None = None
        self.rooms: set[str] | None = None
        self.session: Any = None
        self.latest: dict[str, bytes] | None = None
        self._ended = False
        self._eof = False
        self._lost_by: tuple[str, str] | None = None
        self.calls = CallTable()
        self.deferred = None
        self.deferred_bytes = 0
        self._held_up = False
        self._batch = _NO_FRAMES
        self._original: tuple[str | None, str | None] = (None, None)
        self.held = 0
        self._holds = 0
        self._largest = 0
        self._limit: RateLimit | None = None
        if hub.options.rate_limit is not None:
            self._limit = RateLimit(*hub.options.rate_limit, hub.loop.time())
        self._decoder = Decoder(hub.header_len, hub.options.max_message_size, hub.scratch)
        # The loop asks the decoder itself where to receive to; that saves a call per read.
        self.get_buffer = self._decoder.get_buffer  # type: ignore[method-assign,assignment]
        self.outbox = Outbox(hub.dirty, self, hub.schedule, hub.header_len, hub.overfull)
        self.outbox.limit = hub.options.send_buffer
        self.outbox.sender = hub.sender

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.info = ClientInfo(self.hub.address_of(transport))
        self.hub.connected(self)

    def buffer_updated(self, nbytes: int) -> None:
        if self._ended:
            return
        self.alive = True
        decoder = self._decoder
        try:
            frames = decoder.buffer_updated(nbytes)
        except FramingError:
            frames = []
        if frames:
            hub = self.hub
            dirty = hub.dirty
            idle = not dirty
            if idle:
                dirty.append(HEAD)  # so that nobody else is the first, and schedules a flush
            try:
                if self._limit is not None:
                    self._take_limited(frames, self._limit)
                elif self.joined and not self.busy:  # as in _take(), for one call less
                    self._batch = frames
                    hub.dispatch(self, iter(frames))
                    self._batch = _NO_FRAMES
                else:
                    self._take(frames)
            except (SystemExit, KeyboardInterrupt) as exc:
                hub.interrupt(exc)
            finally:
                # An answer to the client itself is written at once, which saves the loop an
                # iteration. What goes to others waits until all has been read: the next may add
                # to it. Other threads append meanwhile, so the front is cut off.
                if idle and dirty[0] is HEAD:  # else another thread has scheduled a flush
                    if len(dirty) == 2 and dirty[1] is self:
                        del dirty[:2]
                        self.flush()
                    else:
                        del dirty[0]
                    if dirty:
                        hub.flush_later()
            if nbytes == RECEIVE_SIZE or (dirty and nbytes >= _MUCH):
                self._let_others()
        if decoder.pending != self.held:
            self._hold(decoder.pending)
        if decoder.error is not None:
            self._fail_if_idle()

    def _let_others(self) -> None:
        """Read on only after the others.

        A read that fills the whole buffer leaves more; libuv would take that at once, and again,
        up to 32 times. And where a line of clients waits to be written to, the loop reads after
        every few of them: who sends much waits in that line as well.
        """
        self.set_reading(False)
        if self.hub.dirty:
            self.hub.dirty.append(ReadOn(self))
        else:
            self.hub.loop.call_soon(self.set_reading, True)

    def _take(self, frames: list[RawFrame]) -> None:
        self._batch = frames
        if self.joined and not self.busy:
            self.hub.dispatch(self, iter(frames))
        else:
            self._take_otherwise(iter(frames))
        self._batch = _NO_FRAMES

    def _take_limited(self, frames: list[RawFrame], limit: RateLimit) -> None:
        allowed = limit.allowance(self.hub.loop.time())
        debt = limit.spend(len(frames))
        if not debt:
            self._take(frames)
        elif self.hub.options.on_flood == "pause":
            self._take(frames)
            if not self._ended:
                self.set_reading(False)
                self.hub.loop.call_later(debt, self.set_reading, True)
        else:
            self._take(frames[:allowed])
            rate, burst = self.hub.options.rate_limit or (0, 0)
            self.fail("flood", f"more than {rate:g} messages a second (bursts of {burst:g})")

    def _hold(self, pending: int) -> None:
        """Account for the bytes of an incomplete frame."""
        if self._ended:
            return
        self.hub.buffered += pending - self.held
        self.held = pending
        if self.hub.buffered > self.hub.options.max_buffered:
            self.hub.pressure.too_much_held()

    def _fail_if_idle(self) -> None:
        """End the connection for what is wrong with its bytes, after what came before that."""
        error = self._decoder.error
        if error is not None and not self._ended and not self.busy:
            self.fail("framing", error if self.joined else without_bytes(error))

    def eof_received(self) -> bool:
        """Close the transport, by returning false; but first handle what came, and answer it."""
        self._eof = True
        if self._ended:
            return False
        self.flush()
        # Over TLS the loop closes anyway, and complains about being asked not to.
        return bool(self.busy) and self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy and not self._ended:
            # What came before is handled first, when the handlers that run have ended.
            self._lost_by = self._why_lost(exc)
            self.outbox.close()
            return
        if not self._ended:
            self.hub.leave(self, *self._why_lost(exc))
        self.hub.disconnected(self)

    def _why_lost(self, exc: Exception | None) -> tuple[str, str]:
        if exc is not None:
            return "reset", str(exc) or type(exc).__name__
        try:
            self._decoder.eof()
        except FramingError as cut:
            return "cut", str(cut)
        return "eof", "it closed the connection"

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._largest = 0
        if self._ended:
            return
        self.outbox.refusing = False
        self.outbox.limit = self.hub.options.send_buffer
        self.flush()

    # -- frames

    def _take_otherwise(self, frames: Iterator[RawFrame]) -> None:
        """Take frames of a client that says hello just now, or whose handlers are running."""
        if not self.busy and not self.joined and not self._join(next(frames)):
            return
        if self.busy:
            self.defer(frames)
        else:
            self.hub.dispatch(self, frames)

    def event_table(self) -> EventTable:
        return self.hub.events

    def set_reading(self, reading: bool) -> None:
        """Stop reading, or read on once everybody who stopped it has said so."""
        self._holds += -1 if reading else 1
        if self._transport.is_closing():
            return
        if reading and self._holds == 0:
            self._transport.resume_reading()
        elif not reading and self._holds == 1:
            self._transport.pause_reading()

    @property
    def waits_for_us(self) -> bool:
        """Whether it cannot answer, because nothing is read from it at the moment."""
        return bool(self.busy or self._holds)

    def defer(self, frames: Iterator[RawFrame]) -> None:
        if self.joined:
            super().defer(frames)
            return
        # Nothing is handled before the client is let in.
        kept = self.deferred = deque() if self.deferred is None else self.deferred
        for command, message in frames:
            kept.append((command, message))
            self.deferred_bytes += len(message or b"")
        self.pause_if_much()

    def begin(self) -> None:
        """An async handler is running: what comes next waits for its end."""
        self.busy += 1

    def idle(self) -> None:
        """A handler has ended: handle what was kept meanwhile, if it was the last."""
        self.busy -= 1
        while not self.busy and not self._ended and (frame := self.pop_deferred()) is not None:
            try:
                self._take([frame])
            except (SystemExit, KeyboardInterrupt) as exc:
                self.hub.interrupt(exc)
        self._fail_if_idle()
        if self.busy:
            return
        if self._lost_by is not None:
            self.hub.leave(self, *self._lost_by)
            self.hub.disconnected(self)
        elif self._eof and not self._ended:
            self.flush()
            self._transport.close()

    def _join(self, frame: RawFrame) -> bool:
        command, payload = frame
        try:
            if command is not None:
                # Not which: it may be the rest of a hello, with a token in it.
                raise ProtocolError("a command came before the hello")
            hello = protocol.parse_hello(payload or b"")
        except ProtocolError as exc:
            self.fail("hello", exc)
            return False
        self._original = (hello.name, hello.group)
        self.features = hello.features
        self.resume = hello.resume
        self.info = ClientInfo(self.info.addr, hello.name, hello.group)
        self.hub.door.welcome(self, hello)
        return True

    def take_raw(self, payload: bytes) -> None:
        """Take a frame without a command."""
        try:
            reserved = protocol.split_reserved(payload)
            if reserved is None:
                self.hub.events.handle(self, None, payload)
            else:
                self._take_reserved(*reserved)
        except ProtocolError as exc:
            self.fail("protocol", exc)

    def _take_reserved(self, name: bytes, data: bytes) -> None:
        if name == protocol.KEEPALIVE_ACK:
            return
        if name == protocol.LEAVE:
            self.hub.leave(self, "left", "it said goodbye", goodbye=True)
        elif name == protocol.GET_CLIENT:
            self._answer_get_client(protocol.parse_text(name, data))
        elif name == protocol.CHANGE_NAME:
            new = protocol.parse_text(name, data) or self._original[0]
            self.hub.change_name(self, new)
        elif name == protocol.CHANGE_GROUP:
            new = protocol.parse_text(name, data) or self._original[1]
            self.hub.change_group(self, new)
        elif name == protocol.CALL and self.knows("call"):
            self._answer(protocol.parse_call(data))
        elif name == protocol.REPLY and self.knows("call"):
            self.calls.take_reply(protocol.parse_reply(data))
        else:
            raise protocol.unexpected(name, "server")

    def _answer_get_client(self, who: str) -> None:
        found = self.hub.lookup(who)
        if found is None:
            self.outbox.write(protocol.build_no_such_client(self.hub.header_len))
        else:
            self.outbox.write(build_raw(found, self.hub.header_len))

    def knows(self, feature: str) -> bool:
        """Whether the client knows something that 2.0.2 does not."""
        return self.features is not None and feature in self.features

    # -- calls

    def _answer(self, call: protocol.Call) -> None:
        def done(result: Any, exc: BaseException | None) -> None:
            hub = self.hub
            frame = build_answer(call, result, exc, hub.events, self.info, hub.header_len)
            self.outbox.write(frame)

        self.hub.events.call(self, call.command, call.message, done)

    # -- writing and ending

    def flush(self) -> None:
        """Give the transport what the outbox holds, unless it is still busy with what it has."""
        if self.paused and not self._ended:
            return  # resume_writing() comes back to it
        if self.latest is not None:
            self._queue_latest()
        chunks = self.outbox.take()
        if len(chunks) == 1:  # mostly
            self._transport.write(chunks[0])
        elif chunks:
            write_chunks(self._transport, chunks)
        if self.paused and not self._ended:
            # One large message may pass the limit; it counts for nothing while it drains.
            largest = max(map(len, chunks), default=0)
            if largest > self.hub.options.send_buffer:
                self._largest = largest
            self._check_backlog()

    def _check_backlog(self) -> None:
        """Allow as much more as may wait, now that the transport takes no more."""
        waits = self._transport.get_write_buffer_size()
        bound = self.hub.options.send_buffer + self._largest
        if waits + self.outbox.size > bound:
            self.hub.pressure.behind(self, waits + self.outbox.size)
        else:
            self.outbox.limit = bound - waits

    def relieve(self) -> None:
        """More waits than may: write it at once, or see whose fault it is."""
        if self.paused:
            self._check_backlog()
        else:
            self.flush()

    def write_latest(self, key: str, frame: bytes) -> bool:
        """Write a frame, in place of an older one with that key which is not written yet."""
        if self._ended:
            return False
        if not self.hub.on_loop_thread():
            self.hub.loop.call_soon_threadsafe(self.write_latest, key, frame)
            return True
        if self.latest is not None:
            self.latest[key] = frame
            return True
        self.latest = {key: frame}
        if not self.paused:
            self.hub.mark_dirty(self)
        return True

    def figures(self) -> Figures:
        """What has gone through it."""
        decoder, outbox = self._decoder, self.outbox
        return Figures(
            decoder.frames,
            outbox.taken_frames,
            decoder.position + decoder.pending,
            outbox.taken_bytes,
            outbox.refused,
        )

    def backlog(self) -> int:
        """Bytes that are sent but not yet taken by the operating system."""
        return self.outbox.size + self._transport.get_write_buffer_size()

    def fail(self, kind: str, reason: Exception | str) -> None:
        """End the connection because of something that the client did."""
        self.hub.leave(self, kind, str(reason))

    def _queue_latest(self) -> None:
        latest, self.latest = self.latest, None
        for frame in (latest or {}).values():
            self.outbox.write(frame)

    def say_goodbye(self, frame: bytes) -> None:
        """Queue the last frame, behind everything else, that of :meth:`write_latest` included."""
        self._queue_latest()
        self.outbox.refusing = False  # it may have been too slow for all but this
        self.outbox.write(frame)

    def unsent(self) -> int:
        """Bytes that the operating system has taken, and the client has not received yet."""
        return sockets.unsent(self._transport.get_extra_info("socket"))

    @property
    def lost(self) -> bool:
        """Whether it is gone, and a handler that runs keeps that from being told."""
        return self._lost_by is not None

    def finish(self, linger: float | None = LINGER_SECONDS) -> None:
        """Write what waits, say that nothing follows, and close.

        A socket closed with unread bytes in it resets the connection, and the reset may overtake
        the last frames. So reading goes on, into nothing, until the client closes too, for at most
        ``linger`` seconds; with ``None``, until the caller aborts it.
        """
        self._ended = True
        self.flush()
        self._drop_what_waits()
        transport = self._transport
        if transport.is_closing():
            return
        if linger != 0 and transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:  # the client is gone already
                transport.abort()
                return
            if linger is not None:
                self.hub.loop.call_later(linger, transport.abort)
        elif linger is not None:
            transport.close()

    def say_end(self) -> None:
        """Say that nothing follows, where :meth:`finish` could not, with ``None``: over TLS.

        asyncio takes what a client sends after that for an error, and drops what is not written.
        So everything has to be.
        """
        if not self._transport.can_write_eof():
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what is not written is lost."""
        self._ended = True
        self._drop_what_waits()
        self._transport.abort()

    def _drop_what_waits(self) -> None:
        self._batch.clear()
        self.outbox.close()
        self.hub.buffered -= self.held
        self.held = 0
        self.deferred = None
        self.latest = None
        self.calls.fail_all(ConnectionLost(f"{self.info} is no longer connected"))

    @property
    def made(self) -> bool:
        """Whether it has been connected; before that, hands are being shaken."""
        return hasattr(self, "_transport")

    @property
    def ended(self) -> bool:
        return self._ended

    def __repr__(self) -> str:
        return f"<Connection {getattr(self, 'info', None)!r}>"
