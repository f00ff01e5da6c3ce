"""The waiting part of a server: ``recv``, ``wait_for`` and calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar, overload

from hisock._core import call_frames
from hisock._core.binding import cast_reply
from hisock._core.checks import seconds
from hisock._core.client_info import ClientRef, title_of
from hisock._core.codec import Cast, Codec
from hisock._core.inspection import Inspection
from hisock._core.server_events import ServerEvents
from hisock._core.tracing import outgoing
from hisock._core.waiting import Waiting
from hisock._runtime.waiters import (
    LoopWaiter,
    ThreadWaiter,
    await_frame,
    call_timed_out,
    wait_for_frame,
    wrong_loop,
)
from hisock._server.connection import Connection
from hisock._server.directory import Directory
from hisock._server.hub import Hub
from hisock._server.registry import Registry
from hisock.exceptions import ConnectionLost, NotSupported

T = TypeVar("T")


class Receiving(Inspection):
    """The part of a server that waits for frames that no handler takes, and for replies."""

    header_len: int
    _hub: Hub
    _registry: Registry[Connection]
    _directory: Directory
    _codec: Codec
    _waiting: Waiting
    _events: ServerEvents

    def _event_table(self) -> ServerEvents:
        return self._events

    @overload
    def recv(self, recv_on: str | None = None, *, timeout: float | None = None) -> bytes: ...

    @overload
    def recv(
        self, recv_on: str | None = None, recv_as: type[T] = ..., timeout: float | None = None
    ) -> T: ...

    @overload
    def recv(
        self, recv_on: str | None = None, recv_as: Any = ..., timeout: float | None = None
    ) -> Any: ...

    def recv(
        self, recv_on: str | None = None, recv_as: Any = bytes, timeout: float | None = None
    ) -> Any:
        """Wait for a frame of any client that no handler takes. For ``threaded`` handlers and
        other threads than the loop's.

        :param recv_on: the command to wait for; ``None`` (the default) for any frame.
        :param recv_as: the type to return its message as. Default ``bytes``.
        :param timeout: seconds to wait; ``None`` (the default) for no limit.
        :raises TimeoutError: nothing came in time.
        :raises InvalidTypeCast: the message does not fit ``recv_as``.
        :raises RuntimeError: called on the loop's own thread, which would wait for itself.
        :raises ClientDisconnected: the server is closed.
        """
        timeout = seconds(timeout)
        self._not_on_loop("recv()")
        self._events.unhandled.waited_for(recv_on)
        return wait_for_frame(
            self._waiting, self._codec, recv_on, recv_as, timeout, self._events.put_back
        )

    def _not_on_loop(self, what: str) -> None:
        if self._hub.thread.running and self._hub.thread.is_current():
            raise RuntimeError(
                f"{what} on the thread of the server's loop would wait for ever; "
                'register the handler with @server.on("...", threaded=True)'
            )

    def _on_own_loop(self, what: str, blocking: str) -> None:
        if self._hub.thread.running and not self._hub.thread.is_current():
            raise wrong_loop(what, f"await asyncio.to_thread(server.{blocking}, ...) instead")

    @overload
    async def wait_for(
        self,
        command: str | None = None,
        *,
        client: ClientRef | None = None,
        timeout: float | None = None,
    ) -> bytes: ...

    @overload
    async def wait_for(
        self,
        command: str | None = None,
        type: type[T] = ...,
        client: ClientRef | None = None,
        timeout: float | None = None,
    ) -> T: ...

    @overload
    async def wait_for(
        self,
        command: str | None = None,
        type: Any = ...,
        client: ClientRef | None = None,
        timeout: float | None = None,
    ) -> Any: ...

    async def wait_for(
        self,
        command: str | None = None,
        type: Any = bytes,
        client: ClientRef | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Wait, in an async handler or task, for a frame that no handler takes.

        :param command: the command to wait for; ``None`` (the default) for any frame.
        :param type: the type to return its message as. Default ``bytes``.
        :param client: the client whose frame to wait for; ``None`` (the default) for any client.
        :param timeout: seconds to wait; ``None`` (the default) for no limit.
        :raises TimeoutError: nothing came in time.
        :raises InvalidTypeCast: the message does not fit ``type``.
        :raises ClientNotFound: no such client is connected.
        :raises ConnectionLost: the client disconnected meanwhile.
        :raises RuntimeError: it is awaited on another loop than the server's.
        """
        timeout = seconds(timeout)
        self._on_own_loop("wait_for()", "recv")
        source = None if client is None else self._directory.here(client, "wait_for()").info.ip
        wanted = (command, source)
        self._events.unhandled.waited_for(command)
        return await await_frame(
            self._waiting, self._codec, wanted, type, timeout, self._events.put_back
        )

    # -- calling

    @overload
    async def call(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        type: None = None,
        timeout: float | None = 5.0,
    ) -> bytes | None: ...

    @overload
    async def call(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        type: type[T] = ...,
        timeout: float | None = 5.0,
    ) -> T: ...

    @overload
    async def call(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        type: Any = ...,
        timeout: float | None = 5.0,
    ) -> Any: ...

    async def call(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        type: Any = None,
        timeout: float | None = 5.0,
    ) -> Any:
        """Send a command to a client and return what its handler returns.

        For async handlers and tasks on the server's loop; elsewhere see :meth:`call_blocking`.

        :param type: the type that the reply is cast to. By default the reply is ``bytes``, or
            ``None`` for an empty one.
        :param timeout: seconds to wait for the reply (default 5); ``None`` for no limit.
        :raises RemoteError: the handler raised; the message is that of its exception.
        :raises TimeoutError: no reply came in time.
        :raises ConnectionLost: the client disconnected before the reply came.
        :raises ClientNotFound: no such client is connected.
        :raises NotSupported: the client does not know calls; nothing was sent.
        :raises InvalidTypeCast: the reply does not fit ``type``.
        :raises RuntimeError: it is awaited on another loop than the server's.
        """
        timeout = seconds(timeout)
        self._on_own_loop("call()", "call_blocking")
        waiter: LoopWaiter[bytes | None] = LoopWaiter()
        with self._calling(client, command, content, type, timeout, waiter) as cast:
            try:
                message = await waiter.wait(timeout, self._hub.thread.deadlines)
            except TimeoutError:
                raise call_timed_out(command, timeout) from None
        return cast_reply(command, cast, message)

    @overload
    def call_blocking(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        type: None = None,
        timeout: float | None = 5.0,
    ) -> bytes | None: ...

    @overload
    def call_blocking(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        type: type[T] = ...,
        timeout: float | None = 5.0,
    ) -> T: ...

    @overload
    def call_blocking(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        type: Any = ...,
        timeout: float | None = 5.0,
    ) -> Any: ...

    def call_blocking(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        type: Any = None,
        timeout: float | None = 5.0,
    ) -> Any:
        """The same as :meth:`call`, for ``threaded`` handlers and other threads.

        :raises RuntimeError: called on the server's loop, which would wait for itself.
        """
        timeout = seconds(timeout)
        self._not_on_loop("call_blocking()")
        waiter: ThreadWaiter[bytes | None] = ThreadWaiter()
        with self._calling(client, command, content, type, timeout, waiter) as cast:
            try:
                message = waiter.wait(timeout)
            except TimeoutError:
                raise call_timed_out(command, timeout) from None
        return cast_reply(command, cast, message)

    @contextlib.contextmanager
    def _calling(
        self,
        client: ClientRef,
        command: str,
        content: Any,
        reply_as: Any,
        timeout: float | None,
        waiter: Any,
    ) -> Iterator[Cast]:
        """Send a call, and keep its waiter registered while the block runs.

        :param timeout: seconds that it waits.
        """
        cast = self._codec.cast_for(reply_as)
        encoded = self._codec.encode_exactly(content)
        peer = self._registry.find(client)
        if not peer.knows("call"):
            raise NotSupported(
                f"{title_of(peer.info)} does not know calls, {command!r} was not sent; "
                "use send_client() and wait_for()"
            )
        calls = peer.calls
        number = calls.add(waiter)
        try:
            call = call_frames.Call(number, command, encoded, outgoing(peer.features))
            if not peer.writer.write_control(call_frames.build_call(call, self.header_len)):
                raise ConnectionLost(f"{title_of(peer.info)} is no longer connected")
            yield cast
        except asyncio.CancelledError:
            if peer.knows("cancel"):
                peer.writer.write_control(call_frames.build_cancel(number, self.header_len))
            raise
        finally:
            calls.forget(number)
