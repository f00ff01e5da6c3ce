"""The client: :class:`HiSockClient`, and :class:`ThreadedHiSockClient` in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar, overload

from hisock import utils
from hisock._client.blocking_driver import BlockingDriver
from hisock._client.blocking_face import BlockingFace
from hisock._client.connector import ServerConnector
from hisock._client.options import ClientOptions
from hisock._client.reconnect import Reconnect
from hisock._core.binding import cast_message, cast_reply
from hisock._core.checks import seconds
from hisock._core.client_info import ClientInfo, ClientRef
from hisock._core.error_handlers import ErrorHandler
from hisock._core.public import publish
from hisock._core.signatures import made_by
from hisock._runtime.sockets import RemoteAddress, host_of
from hisock._runtime.tls import ClientTLS, client_context
from hisock.exceptions import ConnectionLost, ConnectionRejected
from hisock.framing import DEFAULT_HEADER_LEN, DEFAULT_MAX_FRAME_SIZE, build_command
from hisock.utils import *  # noqa: F403 - what programs of 2.0.2 import from here

__all__ = ["HiSockClient", "ThreadedHiSockClient", "connect", "threaded_connect"]
__all__ += utils.__all__
C = TypeVar("C", bound="HiSockClient")
T = TypeVar("T")


class HiSockClient(BlockingFace):
    """A client: it connects when it is made, and may send at once.

    Frames of the server are handled by :meth:`start`, which blocks, or by :meth:`update`, which a
    game loop calls in each iteration, or are received one by one with :meth:`recv`.

    :param addr: ``(host, port)`` of the server, or the path of its Unix socket.
    :param name: the client's name, at most 1024 characters; ``None`` for none.
    :param group: its group, at most 1024 characters; ``None`` for none.
    :param header_len: digits of a frame's length, 1 to 20; the server must have the same.
    :param cache_size: frames kept for :meth:`get_cache`; below 0 none, 0 all, n the last n.
    :param max_message_size: bytes of one frame of the server at most.
    :param timeout: seconds to wait for the connection; ``None`` for the system's own limit.
    :param codec: ``"json"`` or ``"msgpack"``, for messages that are not plain text; the server
        must have the same.
    :param token: the token for the server's ``authenticate``. With a token, or a codec other than
        JSON, the constructor waits until the server has admitted the client.
    :param reconnect: reconnect after a lost connection, with the current name and group; ``True``
        or a :class:`Reconnect`. The events ``disconnect(reason)`` and ``reconnect()`` report it.
        A connection that the server has ended with ``$DISCONN$`` is not lost.
    :param offline_buffer: bytes that :meth:`send` keeps while there is no connection, to send
        them in order after reconnecting; with 0 it raises :class:`ConnectionLost` instead.
    :param ssl: speak TLS: ``True`` trusts the system's authorities, a path those in that file;
        or a context.
    :param server_hostname: the host name that the server's certificate must have, by default the
        host in ``addr``.
    :param error_handler: called as ``(exc, context)`` with every exception that a handler raises,
        and its :class:`ErrorContext`; or as ``(exc)``, if it takes one argument. It gets the
        reason for the end of the connection too, if that ends without a goodbye.
    :param strict: whether a command without a handler is an error: it is given to the
        ``error_handler``, and a call of it is answered with the most similar command.
    :raises ServerNotRunning: no server listens at the address, or it did not answer in time.
    :raises ConnectionRejected: the server rejected the client.
    :raises ssl.SSLError: the server's certificate is not trusted, or it speaks no TLS.
    """

    _driver: BlockingDriver

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
        error_handler: ErrorHandler | None = None,
        strict: bool = False,
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
            error_handler=error_handler,
            strict=strict,
        )
        context, host = client_context(ssl), server_hostname or host_of(addr)
        self._driver = BlockingDriver(ServerConnector(addr, context, host), options)
        #: When the client connected, in seconds since the epoch.
        self.connect_time = time.time()

    # -- running

    def start(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: ErrorHandler | None = None,
    ) -> None:
        """Handle what the server sends until the client is closed; of one that is, return at once.

        :param callback: called after each frame.
        :param error_handler: given every exception that a handler raises, and the
            :class:`ConnectionLost` or :class:`ConnectionRejected` when the server ends the
            connection without a goodbye; handlers' errors are logged anyway.
        :raises ConnectionLost: the connection ended, and there is no ``error_handler``.
        :raises ConnectionRejected: the server did not let the client in, likewise.
        :raises KeyboardInterrupt: Ctrl-C was pressed. The client is not closed, and may still send.
        :raises RuntimeError: the client is running already, or it is called in one of its handlers.
        """
        self._driver.prepare(callback, error_handler)
        self._driver.run()

    def run(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: ErrorHandler | None = None,
    ) -> None:
        """The same as :meth:`start`."""
        self.start(callback, error_handler)

    def update(self, max_messages: int | None = None) -> int:
        """Handle what has arrived, and return without waiting; for loops that call it each frame.

        :param max_messages: how many frames to handle at most; the rest waits for the next call.
        :returns: how many frames were handled.
        :raises ConnectionLost: the connection has ended; once, then the client is closed.
        :raises ConnectionRejected: the server rejected the client; once.
        """
        return self._driver.update(max_messages)

    def close(self, emit_leave: bool = True) -> None:
        """Close the client. Closing twice does nothing. From any thread.

        What was sent before still reaches the server, if it reads that within a second. A thread
        that is blocked in :meth:`send` gets :class:`ClientDisconnected`.

        :param emit_leave: send ``$USRCLOSE$`` first. Default ``True``.
        """
        self._driver.close(emit_leave)

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

    def send(self, command: str, content: Any = None, *, acknowledged: bool = False) -> None:
        """Send a command to the server. From any thread.

        :param content: the message; see :mod:`hisock.codec` for what can be sent.
        :param acknowledged: keep the message until the server confirms that its handler has
            ended, and send it again after a lost connection; a server handles each once, in order.
            For clients with ``reconnect``; what is kept is bounded by ``offline_buffer``.
        :raises InvalidTypeCast: the content cannot be sent; nothing has been.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises ClientDisconnected: the client is closed.
        :raises ConnectionLost: the connection has ended; with ``reconnect``, there is none now
            and the offline buffer is full.
        :raises NotSupported: ``acknowledged``, and the server is older than that.
        :raises BufferError: ``acknowledged``, and the ``offline_buffer`` is full, or 65,536 such
            messages are not confirmed yet.
        """
        driver = self._driver
        message = driver.message_of(content)
        if acknowledged:
            driver.send_acknowledged(command, message)
            return
        driver.send(build_command(command, message, driver.options.header_len))

    def send_many(self, messages: Iterable[tuple[str, Any]]) -> None:
        """Send several commands with one system call, in order. From any thread.

        :param messages: pairs of a command and its content, as for :meth:`send`.
        :raises InvalidTypeCast: one of the contents cannot be sent; nothing has been.
        :raises ValueError: one of the commands is empty or holds a ``$...$`` pair; likewise.
        :raises ClientDisconnected: the client is closed.
        :raises ConnectionLost: as for :meth:`send`; the first of them may have been sent.
        """
        driver = self._driver
        length, encode = driver.options.header_len, driver.message_of
        driver.send_many([build_command(name, encode(what), length) for name, what in messages])

    def batch(self) -> AbstractContextManager[None]:
        """Gather what this thread sends: ``with client.batch():``.

        What :meth:`send` is given inside the block is sent with one system call when the block
        ends, also by an exception, and whenever 64 KiB have come together. Anything else that the
        thread asks of the connection inside the block, such as :meth:`call`, sends first what is
        gathered. Other threads send at once.

        :raises ConnectionLost: at the end, as for :meth:`send_many`.
        """
        return self._driver.batch()

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

        While the client runs, this is for ``threaded`` handlers and other threads. If the client
        was not started, it reads from the connection itself, and calls handlers meanwhile.

        :param recv_on: the command to wait for; ``None`` (the default) for any frame.
        :param recv_as: the type to return its message as. Default ``bytes``.
        :param timeout: seconds to wait; ``None`` (the default) for no limit.
        :raises TimeoutError: nothing came in time.
        :raises InvalidTypeCast: the message does not fit ``recv_as``.
        :raises ConnectionLost: the connection ended meanwhile.
        :raises ClientDisconnected: the client is closed.
        :raises RuntimeError: called by a handler on the client's own loop.
        """
        driver = self._driver
        cast = driver.codec.cast_for(recv_as)
        frame = driver.recv(recv_on, seconds(timeout))
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

        :param content: the message; see :mod:`hisock.codec` for what can be sent.
        :param type: the type that the reply is cast to. By default the reply is ``bytes``, or
            ``None`` for an empty one.
        :param timeout: seconds to wait for the reply (default 5); ``None`` for no limit.
        :raises RemoteError: the handler raised; the message is that of its exception.
        :raises TimeoutError: no reply came in time.
        :raises ConnectionLost: the connection ended before the reply came.
        :raises NotSupported: the server is older than calls; nothing was sent.
        :raises InvalidTypeCast: the reply does not fit ``type``.
        :raises RuntimeError: called by a handler on the client's own loop.
        """
        driver = self._driver
        cast = driver.codec.cast_for(type)
        message = driver.call(command, driver.codec.encode_exactly(content), seconds(timeout))
        return cast_reply(command, cast, message)

    # -- looking up clients

    def get_client(
        self, client: ClientRef, get_as_dict: bool = False, timeout: float | None = None
    ) -> ClientInfo | dict[str, Any]:
        """Ask the server for the client with a name or an address.

        :param client: a name, ``(ip, port)``, ``"ip:port"`` or a :class:`ClientInfo`.
        :param get_as_dict: return a dict instead of a :class:`ClientInfo`. Default ``False``.
        :param timeout: seconds to wait for the answer; ``None`` (the default) for no limit.
        :raises ClientNotFound: no such client is connected.
        :raises ValueError: the name is longer than 1024 characters.
        :raises ServerException: the server answered with another error.
        :raises TimeoutError: no answer came in time.
        :raises RuntimeError: called by a handler on the client's own loop.
        """
        info = self._driver.get_client(client, seconds(timeout))
        return info.as_dict() if get_as_dict else info


class ThreadedHiSockClient(HiSockClient):
    """A client that runs in a thread of its own, beside a game loop or a user interface.

    Its handlers run in that thread. Parameters as for :class:`HiSockClient`.
    """

    _thread: threading.Thread | None = None

    def start(
        self,
        callback: Callable[[], Any] | None = None,
        error_handler: ErrorHandler | None = None,
    ) -> None:
        """Start handling what the server sends, and return. Of a closed client, do nothing.

        :param callback: called after each frame.
        :param error_handler: given every exception that a handler raises, and the
            :class:`ConnectionLost` when the connection ends.
        :raises RuntimeError: the client is running already, or a handler of an update has called.
        """
        self._driver.prepare(callback, error_handler)
        self._thread = threading.Thread(target=self._run_thread, name="hisock-client")
        self._thread.start()

    def _run_thread(self) -> None:
        try:
            self._driver.run()
        except (ConnectionLost, ConnectionRejected, SystemExit):
            pass  # the reason is logged, and all waiters have failed

    def close(self, emit_leave: bool = True) -> None:
        """Close the client and wait for its thread to end, unless this is that thread."""
        super().close(emit_leave)
        thread = self._thread
        here = threading.current_thread()
        if thread is not None and thread is not here and here not in self._driver.workers:
            thread.join()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the client's thread ends.

        :param timeout: seconds to wait at most; ``None`` waits for ever.
        """
        if self._thread is not None:
            self._thread.join(timeout)


@made_by(HiSockClient)
def connect(*args: Any, **options: Any) -> HiSockClient:
    """Make a :class:`HiSockClient`, with the same parameters and errors."""
    return HiSockClient(*args, **options)


@made_by(ThreadedHiSockClient)
def threaded_connect(*args: Any, **options: Any) -> ThreadedHiSockClient:
    """Make a :class:`ThreadedHiSockClient`, with the parameters of :class:`HiSockClient`."""
    return ThreadedHiSockClient(*args, **options)


publish(
    "hisock", globals(), ("HiSockClient", "ThreadedHiSockClient", "connect", "threaded_connect")
)
