"""One client on the server's event loop: its bytes, its frames, its end.

The loop receives into the decoder's buffer, and every frame that is complete then is dispatched.
Frames to send queue up in the writer; the hub flushes the writers in turn, each at most once per
iteration of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from hisock._core import ordering, tracing
from hisock._core.client_info import ClientInfo
from hisock._core.rates import RateLimit
from hisock._core.reporting import without_bytes
from hisock._runtime.draining import close_when_written
from hisock._runtime.ended import ENDED
from hisock._runtime.sockets import why_lost
from hisock._server.answering import answer_at_once
from hisock._server.carried import Carried
from hisock._server.on_demand import OnDemand
from hisock._server.parts import lose_turns, take_again, take_in_parts
from hisock._server.reserved import take_hello, take_raw
from hisock._server.rooms import OwnRooms
from hisock._server.stats import Figures
from hisock._server.writer import Writer
from hisock.exceptions import FramingError
from hisock.framing import Decoder, Frame

if TYPE_CHECKING:
    from hisock._server.hub import Hub

#: Seconds that a connection which the server ends may take to read its last frames.
LINGER_SECONDS = 1.0
#: Bytes that one read takes at most, except for large messages, which have a buffer of their own.
RECEIVE_SIZE = 65536
#: Bytes of a hello at most; the header of a longer first frame ends the connection.
MAX_HELLO_SIZE = 65536


class Connection(Carried, asyncio.BufferedProtocol):
    """A client, from the moment it connects.

    :param addr: its address, as :class:`ClientInfo` has it.
    :ivar info: address, name and group; without a name and a group until the hello.
    :ivar original: the name and the group that its hello asked for.
    :ivar joined: its place in the order of joining, 0 until the hello.
    :ivar held: bytes of memory that an incomplete frame occupies.
    :ivar alive: whether anything has arrived since the last keepalive.
    :ivar busy: how many async handlers must end before its next frame is handled.
    :ivar features: protocol features beyond 2.0.2; ``None`` for a peer of 2.0.2.
    :ivar writer: its writing side; ``outbox`` is the writer's.
    :ivar resume: the secret that shows that a reconnecting client is the same one.
    :ivar limit: how many messages it may send now; ``None`` for any number.
    :ivar session: what the program keeps for this client.
    """

    __slots__ = (
        "__weakref__",
        "_eof",
        "_heir",
        "_lost_by",
        "features",
        "get_buffer",
        "original",
        "outbox",
        "resume",
        "rooms",
        "session",
    )

    _transport: asyncio.Transport
    info: ClientInfo

    def __init__(self, hub: Hub, addr: tuple[str, int]) -> None:
        decoder = Decoder(hub.header_len, hub.options.max_message_size, hub.scratch, MAX_HELLO_SIZE)
        OnDemand.__init__(self, hub, decoder)
        self.info = ClientInfo(addr)
        self.features: frozenset[str] | None = None
        self.resume: str | None = None
        self.rooms: OwnRooms | None = None
        self.session: Any = None
        self._eof = False
        self._lost_by: tuple[str, str] | None = None
        self._heir: Connection | None = None
        self.original: tuple[str | None, str | None] = (None, None)
        # The loop calls the decoder's own method, which saves a call per read.
        self.get_buffer = decoder.get_buffer  # type: ignore[method-assign,assignment]
        self.writer = Writer(self, hub)
        self.outbox = self.writer.outbox

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.writer.start(self._transport)
        self.limit = self.hub.limits.begin(self)
        self.hub.connected(self)

    def read_much(self, nbytes: int) -> None:
        """Pause after a read that fills the buffer: libuv reads again at once, up to 32 times.

        So a client that sends much waits for the flush queue.
        """
        flushing = self._flushing
        if self._ended:
            return
        if nbytes == RECEIVE_SIZE or flushing.queue or flushing.reads_less:
            flushing.read_in_turn(self)

    def take_batch(self, frames: list[Frame]) -> None:
        """Handle the frames of one read that are many, or limited, or may have to wait."""
        if self.limit is not None:
            self._take_limited(frames, self.limit)
        else:
            take_in_parts(self, frames)

    def interrupt(self, exc: BaseException) -> None:
        """End the server with an exception that a handler raised to end the program."""
        self.hub.interrupt(exc)

    def take(self, frames: list[Frame]) -> None:
        """Handle frames, or defer them while handlers run."""
        if self.joined and not self.busy:
            self.dispatch_all(frames)
        else:
            self._batch = frames
            self._take_otherwise(iter(frames))
            self._batch = None

    def _take_limited(self, frames: list[Frame], limit: RateLimit) -> None:
        allowed = limit.allowance(self.hub.loop.time())
        debt = limit.spend(len(frames))
        if not debt:
            take_in_parts(self, frames)
        elif self.hub.options.on_flood == "pause":
            take_in_parts(self, frames)
            if not self._ended:
                self.pauses.set("rate", True)
                self.hub.loop.call_later(debt, self.pauses.set, "rate", False)
        else:
            take_in_parts(self, frames[:allowed])
            rate, burst = self.hub.options.rate_limit or (0, 0)
            self.fail("flood", f"more than {rate:g} messages a second (bursts of {burst:g})")

    def fail_if_idle(self) -> None:
        """End the connection for a framing error, once the frames before it have been handled."""
        error = self._decoder.error
        if error is not None and not self._ended and not self.busy:
            self.fail("framing", error if self.joined else without_bytes(error))

    def eof_received(self) -> bool:
        """Have the loop close the transport by returning false, unless handlers still run."""
        self._eof = True
        if self.busy and not self.joined:
            self.hub.decisions.left(self)
        if self._ended:
            return False
        self.writer.flush()
        # Over TLS the loop closes anyway, and logs a warning when it gets True.
        return bool(self.busy) and self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self.writer.lose()
        if self.busy and not self.joined:
            self.hub.decisions.left(self)
        if self.busy and not self._ended:
            # Deferred frames are handled before the end, once the running handlers have ended.
            self._lost_by = self._why_lost(exc)
            self.writer.drop()
            return
        if not self._ended:
            self.hub.leave(self, *self._why_lost(exc))
        self.hub.disconnected(self)

    def _why_lost(self, exc: Exception | None) -> tuple[str, str]:
        if exc is not None:
            return "reset", why_lost(exc)
        try:
            self._decoder.eof()
        except FramingError as cut:
            return "cut", str(cut)
        return "eof", "it closed the connection"

    def pause_writing(self) -> None:
        self.writer.paused = True
        self.hub.announcements.fall_behind(self)

    def resume_writing(self) -> None:
        self.writer.resume()
        self.hub.announcements.catch_up(self)

    # -- frames

    def _take_otherwise(self, frames: Iterator[Frame]) -> None:
        """Take frames that begin with a hello, or that have to wait for a running handler."""
        if not self.busy and not self.joined and not take_hello(self, *next(frames)):
            return
        if self.busy:
            self.defer(frames)
        else:
            self.hub.dispatch(self, frames)

    @property
    def waits_for_us(self) -> bool:
        """Whether a missing answer is this side's fault, because reading is paused."""
        return bool(self.busy) or self.paused

    def defer(self, frames: Iterator[Frame]) -> None:
        """Keep frames until the running handlers have ended, or until the client is admitted."""
        if self.joined:
            ordering.defer(self, self.hub.events, frames)
        elif waits := list(frames):
            self.inbox.put_all(waits)
        if self.hub.memory.over:
            # Not now: it may end this connection while its frames are dispatched.
            self.hub.loop.call_soon(self.hub.backpressure.free_memory, self)

    def begin(self) -> None:
        """An async handler is running: the frames after it wait for its end."""
        self.busy += 1

    def idle(self) -> None:
        """A handler has ended: if it was the last one, handle the deferred frames."""
        self.busy -= 1
        tracing.forget()
        self._handle_deferred()
        self._settle()

    def go_on(self) -> None:
        """Handle the frames that were put aside, behind those that were deferred before."""
        frames, self.aside = self.aside, ()
        self.busy -= 1
        tracing.forget()
        self._handle_deferred()
        if frames and not self._ended:
            take_again(self, frames)
        self._settle()

    def _handle_deferred(self) -> None:
        turns, inbox = self.hub.runner.turns, self._inbox
        if inbox is None:
            return
        while not self.busy and not self._ended and (frame := inbox.pop()) is not None:
            try:
                self.take([frame])
            except (SystemExit, KeyboardInterrupt) as exc:
                self.hub.interrupt(exc)
            turns.count(self)

    def _settle(self) -> None:
        """Do what had to wait for the running handlers, if none runs any more."""
        self.fail_if_idle()
        if self.busy:
            return
        if self._heir is not None:
            heir, self._heir = self._heir, None
            heir.idle()
        if self._lost_by is not None:
            self.hub.leave(self, *self._lost_by)
            self.hub.disconnected(self)
        elif self._eof and not self._ended:
            self.writer.flush()
            self._transport.close()

    def precede(self, heir: Connection) -> None:
        """Have the frames of the same client's next connection wait until no handler runs here."""
        before, self._heir = self._heir, heir
        heir.begin()
        if before is not None:
            before.idle()  # it has ended, and waits for nothing any more

    def take_raw(self, payload: bytes) -> None:
        """Take a frame without a command."""
        if not answer_at_once(self, payload):
            take_raw(self, payload)

    # -- figures

    def figures(self) -> Figures:
        """How many messages and bytes it has received and sent."""
        decoder, writer = self._decoder, self.writer
        frames, size = writer.taken
        dropped = writer.outbox.refused + writer.dropped
        return Figures(decoder.frames, frames, decoder.position + decoder.pending, size, dropped)

    # -- ending

    def fail(self, kind: str, reason: Exception | str) -> None:
        """End the connection because of something that the client did."""
        self.hub.leave(self, kind, str(reason))

    @property
    def lost(self) -> bool:
        """Whether the transport is lost, but a running handler delays the ``leave`` event."""
        return self._lost_by is not None

    def finish(self) -> None:
        """Flush, half-close, and close when the client has closed too.

        Closing a socket with unread bytes resets the connection, and the reset may overtake the
        last frames. So what arrives is read and discarded until the client closes too, or for
        ``LINGER_SECONDS`` at most.
        """
        transport = self._transport
        closing = transport.is_closing()
        self.finish_writing()
        if not closing:
            if not transport.can_write_eof():
                close_when_written(self.hub.loop, transport)
            # The client may never close its side, over TLS as well.
            self.hub.loop.call_later(LINGER_SECONDS, transport.abort)

    def finish_writing(self) -> None:
        """Flush and half-close; the caller closes later a connection that the client has not."""
        self._ended = True
        self.writer.end()
        self._drop_all()
        transport = self._transport
        if not transport.is_closing() and transport.can_write_eof():
            try:
                if self._eof:  # nothing more can come: it was kept for a handler that ran
                    transport.close()
                else:
                    transport.write_eof()
            except OSError:  # the client is gone already
                transport.abort()

    def abort(self) -> None:
        """Close at once; what is not written is lost."""
        self.discard().abort()

    def discard(self) -> asyncio.Transport:
        """End it, and leave the transport to the caller; what is not written is lost."""
        self._ended = True
        self.writer.drop()
        self._drop_all()
        return self._transport

    def release(self) -> None:
        """Its transport has closed: let go of what holds it, so that it is freed without the
        garbage collector, whose full collections nobody is served in.
        """
        self._transport = ENDED
        self.writer.release()
        if self._pauses is not None:
            self._pauses.close()
        if self.info._outbox is None:  # else a handler of `leave` finds it by its outbox
            self.outbox.release()

    def _drop_all(self) -> None:
        if self._batch is not None:
            self._batch.clear()
        # Not when the connection is collected: asyncio and it keep each other until then.
        self._decoder.discard()
        self.held = 0
        lose_turns(self)
        self.drop_what_waits()

    def __repr__(self) -> str:
        return f"<Connection {self.info!r}>"
