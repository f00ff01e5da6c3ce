"""The asynchronous client: :class:`AsyncHiSockClient`, made by :func:`async_connect`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, overload

from hisock._client.asyncio_link import Stream
from hisock._client.base import ClientBase, client_text
from hisock._client.blocking_link import LINGER_SECONDS
from hisock._client.options import ClientOptions
from hisock._client.reconnect import Reconnect
from hisock._core import protocol
from hisock._core.binding import cast_message
from hisock._core.client_info import ClientInfo, ClientRef
from hisock._core.events import EventTable
from hisock._core.jobs import Job, RawFrame
from hisock._core.ordering import Ordering
from hisock._core.reporting import loggable, one_line
from hisock._core.waiting import Frame, Waiting
from hisock._runtime.loops import write_chunks
from hisock._runtime.sockets import RemoteAddress, address_text, host_of, require_path
from hisock._runtime.tasks import Tasks
from hisock._runtime.threads import Threads
from hisock._runtime.tls import ClientTLS, client_context
from hisock._runtime.waiters import (
    LoopWaiter,
    await_frame,
    call_timed_out,
    current_asker,
    wrong_loop,
)
from hisock.exceptions import (
    ClientDisconnected,
    ConnectionLost,
    HiSockError,
    ServerNotRunning,
)
from hisock.framing import (
    DEFAULT_HEADER_LEN,
    DEFAULT_MAX_FRAME_SIZE,
    Outbox,
    build_command,
)

logger = logging.getLogger("hisock.client")
C = TypeVar("C", bound="AsyncHiSockClient")
T = TypeVar("T")

#: Frames that nobody took, kept for ``recv``; the oldest are dropped.
UNCLAIMED_FRAMES = 1024
UNCLAIMED_BYTES = 16 * 1024 * 1024
#: Frames that ``async for`` may lag behind by, before reading pauses.
STREAM_FRAMES = 1024


class AsyncHiSockClient(ClientBase, Ordering):
    """A client on a running event loop. Made by :func:`async_connect`.

    Handlers may be plain or async, and are called as frames come; there is nothing to start.
    :meth:`send` may be called from any thread, everything else on the loop's.
    """

    def __init__(self, addr: RemoteAddress, options: ClientOptions) -> None:
        waiting = Waiting(
            threading.Lock(), time.monotonic, UNCLAIMED_FRAMES, UNCLAIMED_BYTES, float("inf")
        )
        ClientBase.__init__(self, addr, options, waiting, self)
        self.deferred = None
        self.deferred_bytes = 0
        self.deferred_changes = 0
        self._held_up = False
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._tasks = Tasks()
        self._workers = Threads("hisock-client")
        self._batch: list[RawFrame] = []
        self._dirty: list[Any] = []
        self._stream: Stream | None = None
        self._read_from: Stream | None = None
        # Guards what is sent before there is a connection again.
        self._changing_stream = threading.Lock()
        self._closing = asyncio.Event()
        self._outbox = self._new_outbox()
        self._unread: deque[Frame] | None = None
        self._reader_waits: LoopWaiter[None] | None = None
        self.error_handler: Callable[[Exception], Any] | None = None

    def _new_outbox(self) -> Outbox:
        return Outbox(self._dirty, self, self._schedule_flush, self.header_len)

    async def connect(self) -> None:
        """Connect and say hello; :func:`async_connect` does it."""
        stream = await self._open_stream()
        self._stream = stream
        if self._options.wants_answer:
            await self._await_answer(self._options.timeout)

    has_loop = True

    async def _open_stream(self) -> Stream:
        hello = self._hello()
        try:
            stream = await asyncio.wait_for(self._connect_stream(), self._options.timeout)
        except (
            ConnectionRefusedError,
            FileNotFoundError,
            TimeoutError,
            asyncio.TimeoutError,
        ) as exc:
            where = address_text(self.addr)
            raise ServerNotRunning(f"no server answers at {where}: {exc}") from exc
        stream.transport.write(hello)
        return stream

    async def _connect_stream(self) -> Stream:
        options = self._options

        def make() -> Stream:
            return Stream(self, options.header_len, options.max_message_size)

        tls: dict[str, Any] = {"ssl": options.tls}
        if options.tls is not None:
            tls["server_hostname"] = options.host
        if isinstance(self.addr, (str, Path)):
            require_path(str(self.addr))
            _, stream = await self._loop.create_unix_connection(make, str(self.addr), **tls)
        else:
            _, stream = await self._loop.create_connection(make, *self.addr, **tls)
        return stream

    # -- running handlers: see hisock._core.jobs.Runner

    def report(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        """Log an error of a handler, and give it to :attr:`error_handler`."""
        shown = loggable(exc)
        logger.error("the handler of %r failed: %s", command, one_line(shown), exc_info=shown)
        if self.error_handler is not None:
            try:
                self.error_handler(exc)
            except Exception as failure:
                logger.error("the error handler failed", exc_info=loggable(failure))

    def in_thread(self, func: Callable[[], Any], job: Job, size: int) -> None:
        """Run a handler in a thread of its own."""
        self._workers.submit(job.run, func)

    def in_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        """Run a coroutine on the loop."""
        if ordered:
            self._tasks.start(coroutine, job, self._begin, self._idle)
        else:
            self._tasks.start(coroutine, job, lambda: None, lambda: None)

    def _begin(self) -> None:
        self.busy += 1

    def _idle(self) -> None:
        self.busy -= 1
        while not self.busy and not self._closed and (frame := self.pop_deferred()) is not None:
            self._handle([frame])

    def event_table(self) -> EventTable:
        return self._events

    def set_reading(self, reading: bool) -> None:
        if self._stream is None or self._stream.transport.is_closing():
            return
        if reading:
            self._stream.transport.resume_reading()
        else:
            self._stream.transport.pause_reading()

    # -- what the loop tells

    def received(self, stream: Stream, frames: list[RawFrame]) -> None:
        """Frames have come."""
        if self._closed:
            return
        if stream is not self._read_from:
            self._read_from = stream
            frames = self._take_greeting(frames)
        if self.busy:
            self.defer(iter(frames))
        else:
            self._handle(frames)

    def _handle(self, frames: list[RawFrame]) -> None:
        self._batch = frames
        self._events.dispatch(self, iter(frames))
        self._batch = []

    def lost(self, stream: Stream, reason: ConnectionLost) -> None:
        """A connection has ended without a goodbye."""
        if self._closed or (self._stream is not None and stream is not self._stream):
            return
        if self._reconnect is None or self._stream is None:
            self._end(reason)
            return
        if self.deferred is not None:
            # What asks for an answer asks in vain; the rest is still to be handled.
            asking = (protocol.CALL, protocol.KEEPALIVE)
            self.deferred = deque(
                (command, message)
                for command, message in self.deferred
                if command is not None or not (message or b"").startswith(asking)
            )
        self._go_offline(reason)
        self._events.fire("disconnect", str(reason))
        self._tasks.add(self._loop.create_task(self._come_back(reason)))

    async def _come_back(self, lost: ConnectionLost) -> None:
        assert self._reconnect is not None
        for delay in self._reconnect.delays():
            await asyncio.sleep(delay)
            try:
                stream = await self._open_stream()
            except (OSError, HiSockError) as exc:
                logger.debug("could not reconnect: %s", exc)
                continue
            if stream.gone.is_set():  # lost before anybody could tell
                continue
            self._use(stream)
            self._events.fire("reconnect")
            return
        self._end(ConnectionLost(f"{lost}; gave up after {self._reconnect.attempts} attempts"))

    def _use(self, stream: Stream) -> None:
        """Go on with a new connection, after what was sent meanwhile."""
        self._stream = stream
        self._outbox.close()
        self._outbox = self._new_outbox()
        with self._changing_stream:
            for frame in self._offline.take():
                self._outbox.write(frame)
            self._come_online()

    def _reply_by(self) -> Callable[[bytes], Any]:
        return self._outbox.write

    # -- writing

    def _schedule_flush(self) -> None:
        if threading.get_ident() == self._thread_id:
            self._loop.call_soon(self._flush)
            return
        try:
            self._loop.call_soon_threadsafe(self._flush)
        except RuntimeError:
            self._dirty.clear()  # the loop has ended

    def _flush(self) -> None:
        self._dirty.clear()
        if self._stream is None or self._stream.transport.is_closing():
            return
        chunks = self._outbox.take()
        if chunks:
            write_chunks(self._stream.transport, chunks)

    def _write(self, frame: bytes) -> None:
        if self._closed:
            raise self._ended_by
        if not self._online:
            raise self._offline_error()
        self._outbox.write(frame)

    def send(self, command: str, content: Any = None) -> None:
        """Send a command to the server, without waiting; see :meth:`drain`. From any thread.

        :param content: the message; see :mod:`hisock._core.codec` for what can be sent.
        :raises InvalidTypeCast: the content cannot be sent; nothing has been.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises ClientDisconnected: the client is closed.
        :raises ConnectionLost: the connection has ended; with ``reconnect``, there is none now
            and the offline buffer is full.
        """
        encoded = self._message_of(content)
        if self._closed:
            raise self._ended_by
        self._waiting.asked(current_asker())
        if self._online:
            self._outbox.send(command, encoded)
        else:
            self._send_offline(build_command(command, encoded, self.header_len))

    def _send_offline(self, frame: bytes) -> None:
        with self._changing_stream:
            if self._online:
                self._outbox.write(frame)
            elif not self._offline.add(frame):
                raise self._offline_error()

    async def drain(self) -> None:
        """Wait until the server has taken most of what was sent.

        :raises ConnectionLost: the connection has ended.
        """
        self._flush()
        if self._stream is not None:
            await self._stream.writable.wait()
        if self._closed:
            raise self._ended_by

    # -- receiving

    @overload
    async def recv(self, command: str | None = None, *, timeout: float | None = None) -> bytes: ...

    @overload
    async def recv(
        self, command: str | None = None, type: type[T] = ..., timeout: float | None = None
    ) -> T: ...

    @overload
    async def recv(
        self, command: str | None = None, type: Any = ..., timeout: float | None = None
    ) -> Any: ...

    async def recv(
        self, command: str | None = None, type: Any = bytes, timeout: float | None = None
    ) -> Any:
        """Wait for a frame that no handler takes.

        One that came just before is taken first, unless it came before the latest :meth:`send`.

        :param command: the command to wait for; ``None`` for any frame.
        :param type: the type to return its message as.
        :param timeout: seconds to wait; ``None`` waits for ever.
        :raises TimeoutError: nothing came in time.
        :raises InvalidTypeCast: the message does not fit ``type``.
        :raises ConnectionLost: the connection ended meanwhile.
        :raises ClientDisconnected: the client is closed.
        """
        self._on_own_loop("recv()")
        unread = self._take_unread(command)
        if unread is not None:
            return cast_message(unread.command, self._codec.cast_for(type), unread.message)
        wanted = (command, None)
        put_back = self._events.put_back
        return await await_frame(
            self._waiting, self._codec, wanted, type, timeout, put_back, current_asker()
        )

    async def __aiter__(self) -> AsyncIterator[tuple[str | None, bytes | None]]:
        """``async for command, message in client``: what no handler takes, until it is closed.

        When it lags behind, reading pauses, so that nothing is dropped.

        :raises ConnectionLost: the connection ended without a goodbye.
        """
        if self._unread is None:
            self._unread = deque(self._waiting.take_all())
            self._events.stream = self._take_unclaimed
            self._events.stream_first = self._take_again
        while True:
            while self._unread:
                frame = self._unread.popleft()
                if len(self._unread) == STREAM_FRAMES // 2:
                    self.set_reading(True)
                yield frame.command, frame.message
            if self._closed:
                if isinstance(self._ended_by, ClientDisconnected):
                    return
                raise self._ended_by
            self._reader_waits = LoopWaiter()
            await self._reader_waits.wait(None)

    def _take_unread(self, command: str | None) -> Frame | None:
        """A frame that waits for ``async for``."""
        for frame in self._unread or ():
            if command is None or frame.command == command:
                assert self._unread is not None
                self._unread.remove(frame)
                return frame
        return None

    def _take_unclaimed(self, frame: Frame) -> None:
        assert self._unread is not None
        self._unread.append(frame)
        if len(self._unread) == STREAM_FRAMES:
            self.set_reading(False)
        self._wake_reader()

    def _take_again(self, frame: Frame) -> None:
        assert self._unread is not None
        self._unread.appendleft(frame)
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._reader_waits is not None:
            self._reader_waits.deliver(None)

    # -- calling

    @overload
    async def call(
        self, command: str, content: Any = None, type: None = None, timeout: float | None = 5.0
    ) -> bytes | None: ...

    @overload
    async def call(
        self, command: str, content: Any = None, type: type[T] = ..., timeout: float | None = 5.0
    ) -> T: ...

    @overload
    async def call(
        self, command: str, content: Any = None, type: Any = ..., timeout: float | None = 5.0
    ) -> Any: ...

    async def call(
        self, command: str, content: Any = None, type: Any = None, timeout: float | None = 5.0
    ) -> Any:
        """Send a command and return what the server's handler returns.

        Parameters and errors as for :meth:`hisock.HiSockClient.call`.
        """
        self._on_own_loop("call()")
        cast_to = self._codec.cast_for(type)
        encoded = self._encode(content)
        if self._server_knows_calls is None:
            await self._await_answer(timeout)
        self._require_calls(command)
        waiter: LoopWaiter[bytes | None] = LoopWaiter()
        number = self._calls.add(waiter)
        try:
            call = protocol.Call(number, command, encoded)
            self._write(protocol.build_call(call, self.header_len))
            message = await waiter.wait(timeout)
        except TimeoutError:
            raise call_timed_out(command, timeout) from None
        finally:
            self._calls.forget(number)
        return cast_message(command, cast_to, message)

    def _on_own_loop(self, what: str) -> None:
        if asyncio.get_running_loop() is not self._loop:
            instead = "use asyncio.run_coroutine_threadsafe(..., the client's loop)"
            raise wrong_loop(what, instead)

    async def _await_answer(self, timeout: float | None) -> None:
        if self._closed:
            raise self._ended_by
        if not self._online:
            raise self._offline_error()
        waiter: LoopWaiter[Frame] = LoopWaiter()
        self._awaiting_answer.append(waiter)
        try:
            await waiter.wait(timeout)
        except TimeoutError:
            raise TimeoutError(f"the server said nothing within {timeout} seconds") from None
        finally:
            with contextlib.suppress(ValueError):
                self._awaiting_answer.remove(waiter)

    async def get_client(
        self, client: ClientRef, get_as_dict: bool = False, timeout: float | None = None
    ) -> ClientInfo | dict[str, Any]:
        """Ask the server who has a name or an address.

        Parameters and errors as for :meth:`hisock.HiSockClient.get_client`.
        """
        who = client_text(client)
        waiter: LoopWaiter[Frame] = LoopWaiter()
        self._asked_for_clients.append(waiter)
        self._write_reserved(protocol.GET_CLIENT, who.encode())
        try:
            frame = await waiter.wait(timeout)
        except TimeoutError:
            raise TimeoutError(f"the server did not answer within {timeout} seconds") from None
        info = self._parse_client_answer(who, frame.message or b"")
        return info.as_dict() if get_as_dict else info

    def get_client_addr(self) -> Any:
        """The client's own address."""
        if self._stream is None:
            raise self._offline_error()
        name = self._stream.transport.get_extra_info("sockname")
        return name[:2] if isinstance(name, tuple) else name

    # -- ending

    def _stop(self, last_frame: bytes | None) -> None:
        self._batch.clear()
        self.deferred = None
        stream = self._stream
        if stream is not None and not stream.transport.is_closing():
            if last_frame is not None:
                self._outbox.write(last_frame)
            self._flush()
            if stream.transport.can_write_eof():
                try:
                    stream.transport.write_eof()
                except OSError:  # the server is gone already
                    stream.transport.abort()
                else:
                    self._loop.call_later(LINGER_SECONDS, stream.transport.abort)
            else:
                stream.transport.close()
        self._outbox.close()
        self._closing.set()
        self._wake_reader()

    async def close(self, emit_leave: bool = True) -> None:
        """Say goodbye and close. Closing twice does nothing.

        Handlers that are still running are cancelled. What was sent before reaches the server.

        :param emit_leave: tell the server with ``$USRCLOSE$``.
        """
        if not self._closed:
            reason = ClientDisconnected("the client is closed")
            self._end(reason, self._leave_frame() if emit_leave else None)
        await self._tasks.cancel(LINGER_SECONDS)
        if self._stream is not None:
            await self._stream.gone.wait()
        self._workers.close()

    async def wait_closed(self) -> None:
        """Wait until the client is closed, by whichever side."""
        await self._closing.wait()

    async def __aenter__(self: C) -> C:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = "closed, was connected" if self._closed else "connected"
        return f"<{type(self).__name__} {state} to {address_text(self.addr)}>"


async def async_connect(
    addr: RemoteAddress,
    name: str | None = None,
    group: str | None = None,
    header_len: int = DEFAULT_HEADER_LEN,
    cache_size: int = -1,
    *,
    max_message_size: int = DEFAULT_MAX_FRAME_SIZE,
    timeout: float | None = 10.0,
    codec: str = "json",
    token: str | None = None,
    reconnect: Reconnect | bool | None = None,
    offline_buffer: int = 0,
    ssl: ClientTLS = None,
    server_hostname: str | None = None,
) -> AsyncHiSockClient:
    """Connect to a server from a running event loop.

    Parameters and errors as for :class:`hisock.HiSockClient`.
    """
    options = ClientOptions(
        name=name,
        group=group,
        header_len=header_len,
        cache_size=cache_size,
        max_message_size=max_message_size,
        timeout=timeout,
        codec=codec,
        token=token,
        reconnect=Reconnect.of(reconnect),
        offline_buffer=offline_buffer,
        tls=client_context(ssl),
        host=server_hostname or host_of(addr),
    )
    client = AsyncHiSockClient(addr, options)
    await client.connect()
    return client
