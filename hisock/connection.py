"""One client on the server's event loop: its bytes, its frames, its end.

How bytes arrive and how they leave is decided here and nowhere else. Reading: the loop receives
into the buffer that the decoder names, and every frame that is complete then is dispatched.
Writing: what is sent gathers in the outbox, and the hub writes each outbox once per iteration of
the loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from hisock import protocol
from hisock.clients import ClientInfo
from hisock.exceptions import FramingError, ProtocolError
from hisock.framing import Decoder, Outbox, build_raw

if TYPE_CHECKING:
    from hisock.events import RawFrame
    from hisock.hub import Hub

#: Seconds that a connection which the server ends may take to read its last frames.
LINGER_SECONDS = 1.0


class Connection(asyncio.BufferedProtocol):
    """A client, from the moment it connects.

    :ivar info: who it is; a placeholder until the hello.
    :ivar joined: its place in the order of joining, 0 until the hello.
    :ivar alive: whether anything has come from it since the last keepalive.
    """

    __slots__ = (
        "__weakref__",
        "_batch",
        "_decoder",
        "_ended",
        "_original",
        "_transport",
        "alive",
        "get_buffer",
        "hub",
        "info",
        "joined",
        "outbox",
        "paused",
    )

    _transport: asyncio.Transport
    info: ClientInfo

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.joined = 0
        self.alive = True
        self.paused = False
        self._ended = False
        self._batch: list[RawFrame] = []
        self._original: tuple[str | None, str | None] = (None, None)
        self._decoder = Decoder(hub.header_len, hub.max_message_size, hub.scratch)
        # The loop asks the decoder itself where to receive to; that saves a call per read.
        self.get_buffer = self._decoder.get_buffer  # type: ignore[method-assign,assignment]
        self.outbox = Outbox(hub.dirty, self, hub.schedule_flush, hub.header_len)

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peername = transport.get_extra_info("peername")
        self.info = ClientInfo((peername[0], peername[1]))
        self.hub.connected(self)

    def buffer_updated(self, nbytes: int) -> None:
        if self._ended:
            return
        self.alive = True
        try:
            frames = self._decoder.buffer_updated(nbytes)
        except FramingError as exc:
            self.fail("framing", exc)
            return
        if frames:
            self._batch = frames
            self._dispatch(frames)
            self._batch = []
        if self._decoder.error is not None and not self._ended:
            self.fail("framing", self._decoder.error)

    def eof_received(self) -> None:
        if not self._ended:
            # The loop closes the transport once this returns; answers go out before.
            self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
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

    # -- frames

    def _dispatch(self, frames: list[RawFrame]) -> None:
        pending = iter(frames)
        try:
            if not self.joined and not self._join(next(pending)):
                return
            self.hub.events.dispatch(self, pending, Connection._take_raw)
        except (SystemExit, KeyboardInterrupt) as exc:
            self.hub.interrupt(exc)

    def _join(self, frame: RawFrame) -> bool:
        command, payload = frame
        try:
            if command is not None:
                raise ProtocolError(f"the command {command!r} came before the hello")
            hello = protocol.parse_hello(payload or b"")
        except ProtocolError as exc:
            self.fail("hello", exc)
            return False
        self._original = (hello.name, hello.group)
        self.info = ClientInfo(self.info.addr, hello.name, hello.group)
        self.hub.join(self)
        return True

    def _take_raw(self, payload: bytes) -> None:
        try:
            reserved = protocol.split_reserved(payload)
            if reserved is None:
                self.hub.events.handle(self.info, None, payload)
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
        else:
            raise protocol.unexpected(name, "server")

    def _answer_get_client(self, who: str) -> None:
        info = self.hub.lookup(who)
        if info is None:
            self.outbox.write(protocol.build_no_such_client(self.hub.header_len))
        else:
            found = protocol.encode_client(info.addr, info.name, info.group)
            self.outbox.write(build_raw(found, self.hub.header_len))

    # -- writing and ending

    def flush(self) -> None:
        """Give the transport what the outbox holds."""
        chunks = self.outbox.take()
        if len(chunks) == 1:
            self._transport.write(chunks[0])
        elif chunks:
            self._transport.writelines(chunks)

    def backlog(self) -> int:
        """Bytes that are sent but not yet taken by the operating system."""
        return self.outbox.size + self._transport.get_write_buffer_size()

    def fail(self, kind: str, reason: Exception | str) -> None:
        """End the connection because of something that the client did."""
        self.hub.leave(self, kind, str(reason))

    def finish(self, linger: float = LINGER_SECONDS) -> None:
        """Write what waits, say that nothing follows, and close.

        A socket closed with unread bytes in it resets the connection, and the reset may overtake
        the last frames. So reading goes on, into nothing, until the client closes too, for at most
        ``linger`` seconds.
        """
        self._ended = True
        self._batch.clear()
        self.flush()
        self.outbox.close()
        transport = self._transport
        if transport.is_closing():
            return
        if linger > 0 and transport.can_write_eof():
            transport.write_eof()
            self.hub.loop.call_later(linger, transport.abort)
        else:
            transport.close()

    def abort(self) -> None:
        """Close at once; what is not written is lost."""
        self._ended = True
        self._batch.clear()
        self.outbox.close()
        self._transport.abort()

    @property
    def ended(self) -> bool:
        return self._ended

    def __repr__(self) -> str:
        return f"<Connection {getattr(self, 'info', None)!r}>"
