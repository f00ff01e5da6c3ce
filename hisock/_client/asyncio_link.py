"""One connection of an asynchronous client: a protocol of the loop, with its session."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any, Protocol, cast
from weakref import WeakKeyDictionary

from hisock._client.endings import End, goodbye_in
from hisock._client.session import Owner, Session, State
from hisock._client.vigil import Verdict, Vigil
from hisock._core import call_frames, protocol
from hisock._core.account import Account, Total
from hisock._core.inbox import Inbox
from hisock._core.pausing import Pauses
from hisock._core.tracing import outgoing
from hisock._runtime.draining import close_when_written
from hisock._runtime.ended import ENDED
from hisock._runtime.flag import Flag
from hisock._runtime.sockets import disown, why_lost
from hisock._runtime.transport_flusher import TransportFlusher
from hisock.exceptions import ConnectionLost, FramingError
from hisock.framing import Decoder, Frame, Outbox, Scratch, send_call

#: Seconds to flush the last frames when the client closes.
LINGER_SECONDS = 1.0
#: Bytes of answers that wait while the server takes nothing; beyond these its questions are not
#: read any more.
MOST_ANSWERS = 16 * 1024 * 1024
#: Frames that no running handler delays: control frames, and changes of the client's name or group.
_URGENT = (*protocol.URGENT, *protocol.CHANGES)


#: The outbox of connections that have ended: it takes nothing.
_ENDED_OUTBOX = Outbox([], None, bool, 16)
_ENDED_OUTBOX.close()
_ENDED_FLUSHER = TransportFlusher(_ENDED_OUTBOX)

#: What the decoders of all clients on a loop share: a receive buffer of 64 KiB and command names.
_scratches: WeakKeyDictionary[asyncio.AbstractEventLoop, Scratch] = WeakKeyDictionary()


def _scratch_of(loop: asyncio.AbstractEventLoop) -> Scratch:
    scratch = _scratches.get(loop)
    if scratch is None:
        scratch = _scratches[loop] = Scratch()
    return scratch


class AsyncioOwner(Owner, Protocol):
    """The client that an asyncio session belongs to."""

    def received(self, session: AsyncioSession, frames: list[Frame]) -> None:
        """Frames have come."""


class AsyncioSession(Session, asyncio.BufferedProtocol):
    """One connection on a loop.

    :ivar gone: set when the transport has closed.
    :ivar settled: set when what was kept has been sent on it, or that has failed.
    :ivar writable: set while the transport is not behind.
    """

    __slots__ = (
        "__weakref__",
        "_answered",
        "_decoder",
        "_dirty",
        "_flusher",
        "_loop",
        "_made",
        "_reading",
        "_thread_id",
        "_timer",
        "_vigil",
        "get_buffer",
        "gone",
        "inbox",
        "outbox",
        "pauses",
        "settled",
        "transport",
        "writable",
    )

    owner: AsyncioOwner
    transport: asyncio.Transport

    def __init__(self, owner: AsyncioOwner, identity: tuple[str | None, str | None]) -> None:
        super().__init__(owner, identity)
        options = owner.options
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        scratch = _scratch_of(self._loop)
        self._decoder = Decoder(options.header_len, options.max_message_size, scratch)
        # The loop calls the decoder without a method of ours in between, as in Connection.
        self.get_buffer = self._decoder.get_buffer  # type: ignore[method-assign,assignment]
        self.writable = Flag(is_set=True)
        self.gone = Flag()
        self.settled = Flag()
        self._made = False
        #: Bytes of answers since the server takes nothing.
        self._answered = 0
        #: Set while frames that were read are handled: what that sends is flushed right after.
        self._reading = False
        self._dirty: list[Any] = []
        self.outbox = Outbox(self._dirty, self, self._schedule_flush, options.header_len)
        self._flusher = TransportFlusher(self.outbox)
        self.pauses = Pauses(self._set_reading)
        self.inbox = Inbox(Account(Total(sys.maxsize)), self.pauses)
        self._vigil: Vigil | None = None
        #: Of the watch over the server's silence; at the end, of how long the last frames may take.
        self._timer: asyncio.TimerHandle | None = None

    # -- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._flusher.attach(self.transport)
        self._made = True
        self.state = State.GREETING

    def buffer_updated(self, nbytes: int) -> None:
        if self._decoder.error is not None:
            return
        try:
            frames = self._decoder.buffer_updated(nbytes)
        except FramingError:
            frames = []
        if self._vigil is not None:
            self._vigil.heard(self._loop.time())
        if frames and self.state is State.GREETING:
            frames = self.take_greeting(frames)
            self._begin_vigil()
        if frames:
            self._handle(frames)
        if self._decoder.error is not None:
            reason = f"the server sent what is no frame: {self._decoder.error}"
            self.end(End.LOST, ConnectionLost(reason))
            self.transport.abort()

    def _handle(self, frames: list[Frame]) -> None:
        """Give frames to the client, and flush at once what its handlers have sent."""
        self._reading = True
        try:
            self.owner.received(self, frames)
        finally:
            self._reading = False
            if self._dirty:
                self.flush()

    def eof_received(self) -> None:
        return None

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()
        if self._answered:
            self._answered = 0
            self.pauses.set("answers", False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._flusher.lose()
        self.gone.set()
        self.writable.set()
        reason = "the server closed the connection"
        if exc is not None:
            reason = f"the connection to the server ended: {why_lost(exc)}"
        self.end(End.LOST, ConnectionLost(reason))
        self._release()

    def _release(self) -> None:
        """Its transport has closed: let go of what holds it, so that it is freed without the
        garbage collector; what has come is still handled.
        """
        if self._timer is not None:
            self._timer.cancel()
        self.transport = ENDED
        self.pauses.close()
        self.outbox.close()
        self.outbox = _ENDED_OUTBOX
        self._flusher = _ENDED_FLUSHER
        self._dirty.clear()
        self._decoder.discard()

    # -- reading

    def _set_reading(self, reading: bool) -> None:
        if not self._made or self.transport.is_closing():
            return
        if not reading:
            self.transport.pause_reading()
            return
        if self._vigil is not None:
            self._vigil.heard(self._loop.time())  # nothing can arrive while reading is paused
        self.transport.resume_reading()

    def defer(self, frames: Iterator[Frame]) -> None:
        """Keep frames until the handlers that run have ended.

        Except what those handlers may be waiting for, or are about to, and what is the protocol's
        own: replies, answers, keepalives, goodbyes, and frames that no handler takes.
        """
        for frame in frames:
            command, payload = frame
            if command is None:
                urgent = self._take_control(payload or b"")
                if self.ended:
                    return  # nothing follows a goodbye
            else:
                urgent = self._is_unhandled(command)
                if urgent:
                    self.owner.events.handle(self, command, payload)
            if not urgent:
                self.inbox.put(frame)

    def stash(self, frames: list[Frame]) -> None:
        """Keep all frames until the client goes on with this connection."""
        for frame in frames:
            if frame[0] is not None or not self._take_control(frame[1] or b""):
                self.inbox.put(frame)

    def _take_control(self, payload: bytes) -> bool:
        """Take a frame of the protocol's own that waits for no handler, if it is one."""
        goodbye = goodbye_in([(None, payload)])
        if goodbye is not None:
            self.end(*goodbye)
            return True
        if payload.startswith(_URGENT):
            self.take_raw(payload)
            return True
        return self.take_client_answer(payload)

    def _is_unhandled(self, command: str) -> bool:
        events = self.owner.events
        return not events.handles(command) and (
            not events.has_wildcard or events.waiting.wants(command, None)
        )

    # -- the server's silence

    def _begin_vigil(self) -> None:
        if self.silence is not None and not self.ended:
            self._vigil = Vigil(self.silence, self._loop.time())
            self._timer = self._loop.call_at(self._vigil.due, self._look)

    def _look(self) -> None:
        vigil = self._vigil
        if vigil is None or self.ended:
            return
        now = self._loop.time()
        if self.pauses:
            vigil.heard(now)
        verdict = vigil.look(now)
        if verdict is Verdict.ASK:
            self.probe(self.outbox.write)
        elif verdict is Verdict.LOST:
            self.end(End.LOST, vigil.lost())
            self.transport.abort()
            return
        self._timer = self._loop.call_at(vigil.due, self._look)

    # -- writing

    def write(self, frame: bytes) -> None:
        """Queue a whole frame. From any thread.

        :raises ConnectionLost: the connection has ended.
        """
        if not self.outbox.write(frame) or self.ended:
            raise self.error()

    def write_call(self, number: int, command: str, message: bytes | None) -> None:
        """Queue a call.

        :raises ConnectionLost: the connection has ended.
        """
        trace = outgoing(self.features)
        if trace is not None:
            call = call_frames.Call(number, command, message, trace)
            self.write(call_frames.build_call(call, self.header_len))
        elif not send_call(self.outbox, number, command, message) or self.ended:
            raise self.error()

    def write_answer(self, frame: bytes) -> None:
        """The same for what the server has asked for, which it may do without ever reading."""
        self.write(frame)
        if self.writable.is_set:
            return
        if threading.get_ident() == self._thread_id:
            self._count_answer(len(frame))
        else:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._count_answer, len(frame))

    def _count_answer(self, size: int) -> None:
        if not self.writable.is_set:
            self._answered += size
            if self._answered > MOST_ANSWERS:
                self.pauses.set("answers", True)

    def _schedule_flush(self) -> None:
        if threading.get_ident() == self._thread_id:
            if not self._reading:
                self._loop.call_soon(self.flush)
            return
        try:
            self._loop.call_soon_threadsafe(self.flush)
        except RuntimeError:
            self._dirty.clear()  # the loop has ended

    def flush_now(self) -> None:
        """Write what is queued in this iteration of the loop, for somebody who awaits an answer."""
        if self._dirty:
            self.flush()

    async def drain(self) -> None:
        """Write what is queued, and wait until the system has taken most of it.

        :raises ConnectionLost: the connection ended meanwhile.
        """
        if not self.ended:
            self.flush()
            await self.writable.wait()
            if self.ended:
                raise self.error()

    def write_now(self, frame: bytes) -> None:
        """Write a frame past the queue."""
        self._flusher.write(frame)

    async def hand_over(self, frame: bytes) -> None:
        """Write a frame past the queue, and wait until the system has taken it whole.

        :raises ConnectionLost: the connection ended before that.
        """
        self.transport.set_write_buffer_limits(high=0)
        self.write_now(frame)
        await self.writable.wait()
        if self.ended or self.transport.is_closing():
            raise self.error()
        self.transport.set_write_buffer_limits()

    def flush(self) -> None:
        """Write what is queued to the transport."""
        self._dirty.clear()
        if not self._made or self.transport.is_closing():
            return
        self._flusher.flush()

    def shut(self, last_frame: bytes | None = None) -> None:
        """Write what is queued and one last frame, if any, and close."""
        if not self._made:
            return
        if not self.transport.is_closing():
            if last_frame is not None:
                self.outbox.write(last_frame)
            self.flush()
            self._finish()
        self.outbox.close()

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_SECONDS, self.transport.abort)
        if not self.transport.can_write_eof():
            close_when_written(self._loop, self.transport)
            return
        try:
            self.transport.write_eof()
        except (OSError, RuntimeError):
            # The server is gone already, or uvloop has closed it because connecting was cancelled.
            self.transport.abort()

    def forget(self, reason: Exception) -> None:
        super().forget(reason)
        self.outbox.close()
        self.gone = Flag(is_set=True)
        if self._made:
            disown(self.transport.get_extra_info("socket"))

    def abort(self) -> None:
        """Close without a word."""
        self.outbox.close()
        if self._made:
            self.transport.abort()
        else:
            self.gone.set()
            self._release()
