"""The client: :class:`HiSockClient`, and :class:`ThreadedHiSockClient` in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, overload

from hisock._client.base import client_text
from hisock._client.blocking_driver import BlockingDriver
from hisock._client.options import ClientOptions
from hisock._client.reconnect import Reconnect
from hisock._core import protocol
from hisock._core.binding import cast_message
from hisock._core.client_info import ClientInfo, ClientRef
from hisock._core.waiting import Frame
from hisock._runtime.sockets import RemoteAddress, address_text, host_of
from hisock._runtime.tls import ClientTLS, client_context
from hisock._runtime.waiters import ThreadWaiter, call_timed_out, frame_timed_out, return_frame
from hisock.exceptions import (
    ConnectionLost,
    ConnectionRejected,
)
from hisock.framing import DEFAULT_HEADER_LEN, DEFAULT_MAX_FRAME_SIZE, build_command

logger = logging.getLogger("hisock.client")
C = TypeVar("C", bound="HiSockClient")
T = TypeVar("T")

#: How often :meth:`HiSockClient.update` reads at most, so that a busy server cannot keep it.
_READS_PER_UPDATE = 16


class HiSockClient(BlockingDriver):
    """A client: connects, says hello, and may send at once.

    What the server sends is handled by :meth:`start`, which blocks, or by :meth:`update`, called
    again and again by a game loop, or taken one by one with :meth:`recv`.

    :param addr: ``(host, port)`` of the server, or the path of its Unix socket.
    :param name: the name to go by; at most 1024 characters.
    :param group: the group to be in; at most 1024 characters.
    :param header_len: digits of a frame's length, 1 to 20; the server must have the same.
    :param cache_size: frames kept for :meth:`get_cache`; below 0 none, 0 all, n the last n.
    :param max_message_size: bytes that one frame of the server may have.
    :param timeout: seconds to wait for the connection; ``None`` as long as the system does.
    :param codec: ``"json"`` or ``"msgpack"``, for messages that are not plain text; the server
        must have the same.
    :param token: what the server lets the client in by. With a token, or a codec other than JSON,
        the client is made when the server has let it in.
    :param reconnect: come back after a lost connection, with the current name and group; ``True``
        or a :class:`Reconnect`. The events ``disconnect(reason)`` and ``reconnect()`` tell of it.
        Being disconnected by the server is no lost connection.
    :param offline_buffer: bytes that :meth:`send` keeps while there is no connection, to send
        them in order when there is one again; 0 raises :class:`ConnectionLost` instead.
    :param ssl: speak TLS: ``True`` trusts the system's authorities, a path those in that file;
        or a context.
    :param server_hostname: the name that the server's certificate has to have, if not the host in
        ``addr``.
    :raises ServerNotRunning: nobody listens at the address, or nobody answered in time.
    :raises ConnectionRejected: the server did not let the client in.
    :raises ssl.SSLError: the server's certificate is not to be trusted, or it speaks no TLS.
    """

    def __init__(
        self,
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
    ) -> None:
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
        super().__init__(addr, options)
        #: When the client connected, in seconds since the epoch.
        self.connect_time = time.time()
        if options.wants_answer:
            self._await_answer(timeout)

    # -- running

    def start(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Handle what the server sends until the client is closed.

        :param callback: called after each frame.
        :param error_handler: given every exception that a handler raises, and the
            :class:`ConnectionLost` or :class:`ConnectionRejected` when the server ends the
            connection without a goodbye; handlers' errors are logged anyway.
        :raises ConnectionLost: the connection ended, and there is no ``error_handler``.
        :raises ConnectionRejected: the server did not let the client in, likewise.
        :raises KeyboardInterrupt: Ctrl-C was pressed. The client is not closed, and may still send.
        :raises RuntimeError: the client is running already.
        """
        self._prepare(callback, error_handler)
        self._run()

    def run(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: Callable[[Exception], Any] | None = None,
    ) -> None:
        """The same as :meth:`start`."""
        self.start(callback, error_handler)

    def _prepare(
        self,
        callback: Callable[[], Any] | None,
        error_handler: Callable[[Exception], Any] | None,
    ) -> None:
        if self._started:
            raise RuntimeError("the client is running already")
        self._started = True
        self._error_handler = error_handler
        self._events.callback = callback
        self._events.refresh()

    def _run(self) -> None:
        if not self._take_turn():
            return
        try:
            while not self._closed:
                self._dispatch(None)
                if not self._closed:
                    self._fetch(None)
        except KeyboardInterrupt:
            # The program may still send, receive, or start again; it closes when it is done.
            self._started = False
            raise
        except SystemExit:
            self.close()
            raise
        finally:
            self._end_turn()
            if self._closed:
                self._workers.close(timeout=1.0)
        reason = self._reason_to_tell()
        if reason is not None:
            if self._error_handler is None:
                raise reason
            self._error_handler(reason)

    def update(self, max_messages: int | None = None) -> int:
        """Handle what has arrived, and return without waiting; for loops that call it each frame.

        :param max_messages: how many frames to handle at most; the rest waits for the next call.
        :returns: how many frames were handled.
        :raises ConnectionLost: the connection has ended; once, then the client is closed.
        :raises ConnectionRejected: the server did not let the client in; once.
        """
        reason = self._reason_to_tell()
        if reason is not None:
            raise reason
        if self._closed or not self._take_turn(timeout=0):
            return 0
        handled = 0
        try:
            for _ in range(_READS_PER_UPDATE):
                handled += self._dispatch(None if max_messages is None else max_messages - handled)
                if self.closed or handled == max_messages or not self._fetch(0):
                    break
        finally:
            self._end_turn()
        reason = self._reason_to_tell()
        if reason is not None:
            raise reason
        return handled

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- sending

    def send(self, command: str, content: Any = None) -> None:
        """Send a command to the server. From any thread.

        :param content: the message; see :mod:`hisock._core.codec` for what can be sent.
        :raises InvalidTypeCast: the content cannot be sent; nothing has been.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises ClientDisconnected: the client is closed.
        :raises ConnectionLost: the connection has ended; with ``reconnect``, there is none now
            and the offline buffer is full.
        """
        frame = build_command(command, self._message_of(content), self.header_len)
        self._waiting.asked(threading.current_thread())
        if self._online:
            try:
                self._write(frame)
                return
            except ConnectionLost:
                if self._reconnect is None:
                    raise
        self._send_offline(frame)

    # -- receiving

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
        """Wait for a frame that no handler takes, and that came after the latest :meth:`send`.

        Where the client runs, in ``threaded`` handlers and other threads; where it was not
        started, it reads from the connection itself, and handles on the way what has a handler.

        :param recv_on: the command to wait for; ``None`` for any frame.
        :param recv_as: the type to return its message as.
        :param timeout: seconds to wait; ``None`` waits for ever.
        :raises TimeoutError: nothing came in time.
        :raises InvalidTypeCast: the message does not fit ``recv_as``.
        :raises ConnectionLost: the connection ended meanwhile.
        :raises ClientDisconnected: the client is closed.
        :raises RuntimeError: called by a handler on the client's own loop.
        """
        self._not_while_handling("recv()")
        cast = self._codec.cast_for(recv_as)
        waiter: ThreadWaiter[Frame] = ThreadWaiter()
        self._waiting.add((recv_on, None), waiter, threading.current_thread())
        try:
            frame = self._wait(waiter, timeout)
        except TimeoutError:
            raise frame_timed_out(recv_on, timeout) from None
        except KeyboardInterrupt:
            return_frame(waiter, self._events.put_back)
            raise
        finally:
            self._waiting.remove((recv_on, None), waiter)
        return cast_message(frame.command, cast, frame.message)

    # -- calling

    @overload
    def call(
        self, command: str, content: Any = None, type: None = None, timeout: float | None = 5.0
    ) -> bytes | None: ...

    @overload
    def call(
        self, command: str, content: Any = None, type: type[T] = ..., timeout: float | None = 5.0
    ) -> T: ...

    @overload
    def call(
        self, command: str, content: Any = None, type: Any = ..., timeout: float | None = 5.0
    ) -> Any: ...

    def call(
        self, command: str, content: Any = None, type: Any = None, timeout: float | None = 5.0
    ) -> Any:
        """Send a command and return what the server's handler returns. From any thread.

        :param content: the message; see :mod:`hisock._core.codec` for what can be sent.
        :param type: what the reply is cast to; bytes, or ``None`` for an empty one, if not given.
        :param timeout: seconds to wait for the reply; ``None`` waits for ever.
        :raises RemoteError: the handler raised; the error's message is this one's.
        :raises TimeoutError: no reply came in time.
        :raises ConnectionLost: the connection ended before the reply came.
        :raises NotSupported: the server is older than calls; nothing was sent.
        :raises InvalidTypeCast: the reply does not fit ``type``.
        :raises RuntimeError: called by a handler on the client's own loop.
        """
        self._not_while_handling("call()")
        cast = self._codec.cast_for(type)
        encoded = self._encode(content)
        if self._server_knows_calls is None:
            self._await_answer(timeout)
        self._require_calls(command)
        waiter: ThreadWaiter[bytes | None] = ThreadWaiter()
        number = self._calls.add(waiter)
        try:
            call = protocol.Call(number, command, encoded)
            self._write(protocol.build_call(call, self.header_len))
            message = self._wait(waiter, timeout)
        except TimeoutError:
            raise call_timed_out(command, timeout) from None
        finally:
            self._calls.forget(number)
        return cast_message(command, cast, message)

    # -- who is there

    def get_client(
        self, client: ClientRef, get_as_dict: bool = False, timeout: float | None = None
    ) -> ClientInfo | dict[str, Any]:
        """Ask the server who has a name or an address.

        :param client: a name, ``(ip, port)``, ``"ip:port"`` or a :class:`ClientInfo`.
        :param get_as_dict: return a dict.
        :param timeout: seconds to wait for the answer; ``None`` waits for ever.
        :raises ClientNotFound: nobody has it.
        :raises ServerException: the server answered with another error.
        :raises TimeoutError: no answer came in time.
        :raises RuntimeError: called by a handler on the client's own loop.
        """
        self._not_while_handling("get_client()")
        who = client_text(client)
        waiter: ThreadWaiter[Frame] = ThreadWaiter()
        with self._asking:
            self._asked_for_clients.append(waiter)
            self._write_reserved(protocol.GET_CLIENT, who.encode())
        try:
            frame = self._wait(waiter, timeout)
        except TimeoutError:
            raise TimeoutError(f"the server did not answer within {timeout} seconds") from None
        info = self._parse_client_answer(who, frame.message or b"")
        return info.as_dict() if get_as_dict else info

    def get_client_addr(self) -> Any:
        """The client's own address, as the server sees it where nothing translates addresses."""
        return self._link.local_addr

    def fileno(self) -> int:
        """The socket's descriptor, for ``select`` and ``selectors``; -1 when it is closed."""
        return self._link.socket.fileno()

    def __repr__(self) -> str:
        state = "closed, was connected" if self._closed else "connected"
        return f"<{type(self).__name__} {state} to {address_text(self.addr)}>"


class ThreadedHiSockClient(HiSockClient):
    """A client that runs in a thread of its own, beside a game loop or a user interface.

    Its handlers run in that thread. Parameters as for :class:`HiSockClient`.
    """

    _thread: threading.Thread | None = None

    def start(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Start handling what the server sends, and return.

        :param callback: called after each frame.
        :param error_handler: given every exception that a handler raises, and the
            :class:`ConnectionLost` when the connection ends.
        :raises RuntimeError: the client is running already.
        """
        self._prepare(callback, error_handler)
        self._thread = threading.Thread(target=self._run_thread, name="hisock-client")
        self._thread.start()

    def _run_thread(self) -> None:
        try:
            self._run()
        except (ConnectionLost, ConnectionRejected, SystemExit):
            pass  # the reason is logged, and everybody who waits has been told

    def close(self, emit_leave: bool = True) -> None:
        """Close the client and wait for its thread to end, unless this is that thread."""
        super().close(emit_leave)
        thread = self._thread
        here = threading.current_thread()
        if thread is not None and thread is not here and here not in self._workers:
            thread.join()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the client's thread ends.

        :param timeout: seconds to wait at most; ``None`` waits for ever.
        """
        if self._thread is not None:
            self._thread.join(timeout)


def connect(
    addr: RemoteAddress,
    name: str | None = None,
    group: str | None = None,
    header_len: int = DEFAULT_HEADER_LEN,
    cache_size: int = -1,
    **options: Any,
) -> HiSockClient:
    """Make a :class:`HiSockClient`; it has the same parameters."""
    return HiSockClient(addr, name, group, header_len, cache_size, **options)


def threaded_connect(
    addr: RemoteAddress,
    name: str | None = None,
    group: str | None = None,
    header_len: int = DEFAULT_HEADER_LEN,
    cache_size: int = -1,
    **options: Any,
) -> ThreadedHiSockClient:
    """Make a :class:`ThreadedHiSockClient`; it has the same parameters."""
    return ThreadedHiSockClient(addr, name, group, header_len, cache_size, **options)
