"""The asynchronous client: :class:`AsyncHiSockClient`, made by :func:`async_connect`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload

from hisock._client.asyncio_driver import AsyncioDriver
from hisock._client.connector import Connector, ServerConnector
from hisock._client.face import ClientFace
from hisock._client.options import ClientOptions
from hisock._client.reconnect import Reconnect
from hisock._core.binding import cast_reply
from hisock._core.checks import seconds
from hisock._core.client_info import ClientInfo, ClientRef
from hisock._core.error_handlers import ErrorHandler, bind_error_handler
from hisock._core.public import publish
from hisock._runtime.sockets import RemoteAddress, host_of
from hisock._runtime.tls import ClientTLS, client_context
from hisock.framing import DEFAULT_HEADER_LEN, DEFAULT_MAX_FRAME_SIZE, build_command

__all__ = ["AsyncHiSockClient", "async_connect"]
C = TypeVar("C", bound="AsyncHiSockClient")
T = TypeVar("T")


class AsyncHiSockClient(ClientFace):
    """A client on a running event loop. Made by :func:`async_connect`.

    Handlers may be plain or async, and are called as frames come; there is nothing to start.
    :meth:`send` may be called from any thread, everything else on the loop's.
    """

    _driver: AsyncioDriver

    def __init__(self, driver: AsyncioDriver) -> None:
        self._driver = driver
        self._error_handler = driver.options.error_handler

    @property
    def error_handler(self) -> ErrorHandler | None:
        """If set, called as ``(exc, context)``, or ``(exc)``, with every exception that a handler
        raises; these are logged anyway."""
        return self._error_handler

    @error_handler.setter
    def error_handler(self, handler: ErrorHandler | None) -> None:
        self._driver.error_handler = None if handler is None else bind_error_handler(handler)
        self._error_handler = handler

    # -- sending

    def send(self, command: str, content: Any = None, *, acknowledged: bool = False) -> None:
        """Send a command to the server, without waiting; see :meth:`drain`. From any thread.

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
        else:
            driver.send(command, message)

    def send_many(self, messages: Iterable[tuple[str, Any]]) -> None:
        """Send several commands, in order; all of them or, if one cannot be sent, none.

        Parameters and errors as for :meth:`hisock.HiSockClient.send_many`.
        """
        driver = self._driver
        length, encode = driver.options.header_len, driver.message_of
        driver.send_many([build_command(name, encode(what), length) for name, what in messages])

    def batch(self) -> AbstractContextManager[None]:
        """For code that runs with blocking clients too: ``with client.batch():``.

        This client writes what it has sent in one iteration of the loop together, in a batch or
        not, so that the block changes nothing.
        """
        return contextlib.nullcontext()

    async def drain(self) -> None:
        """Wait until most of what was sent has been written to the connection.

        Without a connection, while the client reconnects, it returns at once: what is kept
        meanwhile is bounded by ``offline_buffer``.

        :raises ConnectionLost: the connection has ended meanwhile, so that some may be lost.
        :raises ClientDisconnected: the client is closed.
        """
        await self._driver.drain()

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

        A frame that has arrived already is returned at once, unless it arrived before the latest
        :meth:`send`.

        :param command: the command to wait for; ``None`` (the default) for any frame.
        :param type: the type to return its message as. Default ``bytes``.
        :param timeout: seconds to wait; ``None`` (the default) for no limit.
        :raises TimeoutError: nothing came in time.
        :raises InvalidTypeCast: the message does not fit ``type``.
        :raises ConnectionLost: the connection ended meanwhile.
        :raises ClientDisconnected: the client is closed.
        """
        return await self._driver.recv(command, type, seconds(timeout))

    def __aiter__(self) -> AsyncIterator[tuple[str | None, bytes | None]]:
        """``async for command, message in client``: what no handler takes, until it is closed.

        When it lags behind by 1,024 frames or 4 MiB, reading pauses, so that nothing is dropped.
        Several may run at once: each frame goes to one of them.

        :raises ConnectionLost: the connection ended without a goodbye.
        """
        return self._driver.frames()

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
        driver = self._driver
        cast = driver.codec.cast_for(type)
        encoded = driver.codec.encode_exactly(content)
        message = await driver.call(command, encoded, seconds(timeout))
        return cast_reply(command, cast, message)

    @overload
    def stream(
        self, command: str, content: Any = None, type: None = None, timeout: float | None = None
    ) -> AsyncGenerator[bytes | None, None]: ...

    @overload
    def stream(
        self, command: str, content: Any = None, type: type[T] = ..., timeout: float | None = None
    ) -> AsyncGenerator[T, None]: ...

    @overload
    def stream(
        self, command: str, content: Any = None, type: Any = ..., timeout: float | None = None
    ) -> AsyncGenerator[Any, None]: ...

    async def stream(
        self, command: str, content: Any = None, type: Any = None, timeout: float | None = None
    ) -> AsyncGenerator[Any, None]:
        """Send a command, and iterate over what the server's handler yields.

        The handler is a generator, plain or async. At most 16 parts are on their way: a handler
        that yields faster than this side takes waits. Leaving the loop early cancels it,
        at the latest when the generator is closed (``contextlib.aclosing``).

        :param type: what each part is cast to; bytes, or ``None`` for an empty one, if not given.
        :param timeout: seconds to wait for each part; ``None`` waits for ever.
        :raises RemoteError: the handler raised, after the parts that came before that.
        :raises TimeoutError: no part came in time.
        :raises ConnectionLost: the connection ended meanwhile.
        :raises NotSupported: the server is older than this; nothing was sent.
        :raises InvalidTypeCast: a part does not fit ``type``.
        """
        driver = self._driver
        cast = driver.codec.cast_for(type)
        encoded, limit = driver.codec.encode_exactly(content), seconds(timeout)
        async with contextlib.aclosing(driver.stream(command, encoded, limit)) as parts:
            async for part in parts:
                yield cast_reply(command, cast, part)

    async def get_client(
        self, client: ClientRef, get_as_dict: bool = False, timeout: float | None = None
    ) -> ClientInfo | dict[str, Any]:
        """Ask the server for the client with a name or an address.

        Parameters and errors as for :meth:`hisock.HiSockClient.get_client`.
        """
        info = await self._driver.get_client(client, seconds(timeout))
        return info.as_dict() if get_as_dict else info

    def get_client_addr(self) -> Any:
        """The client's own address."""
        return self._driver.local_address()

    # -- ending

    async def close(self, emit_leave: bool = True) -> None:
        """Say goodbye and close. Closing twice does nothing.

        Handlers that are still running are cancelled. What was sent before reaches the server.

        :param emit_leave: tell the server with ``$USRCLOSE$``.
        """
        await self._driver.close(emit_leave)

    async def wait_closed(self) -> None:
        """Wait until the client is closed, by whichever side, and what came before is handled.

        A handler of the client itself does not wait for the handlers.
        """
        await self._driver.wait_closed()

    async def __aenter__(self: C) -> C:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


_NOT_AWAITED = (
    "async_connect() was not awaited; write: client = await hisock.async_connect(...), "
    "or: async with hisock.async_connect(...) as client"
)


class Connecting(Coroutine[Any, Any, AsyncHiSockClient]):
    """What :func:`async_connect` returns: to be awaited, or entered with ``async with``."""

    def __init__(self, coroutine: Coroutine[Any, Any, AsyncHiSockClient]) -> None:
        self._coroutine = coroutine
        self._client: AsyncHiSockClient | None = None

    def __await__(self) -> Generator[Any, Any, AsyncHiSockClient]:
        return self._coroutine.__await__()

    def send(self, value: Any, *content: Any) -> Any:
        if content or isinstance(value, str):  # a command, for the client that is not there yet
            raise TypeError(_NOT_AWAITED)
        return self._coroutine.send(value)

    def throw(self, *exc: Any) -> Any:
        return self._coroutine.throw(*exc)

    def close(self) -> None:
        self._coroutine.close()

    if not TYPE_CHECKING:  # which knows that there is no such attribute

        def __enter__(self) -> NoReturn:
            raise TypeError(_NOT_AWAITED)

        __exit__ = None

        def __getattr__(self, name: str) -> NoReturn:
            if hasattr(AsyncHiSockClient, name):
                raise AttributeError(_NOT_AWAITED, name=name, obj=self)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    async def __aenter__(self) -> AsyncHiSockClient:
        self._client = await self._coroutine
        return self._client

    async def __aexit__(self, *exc: object) -> None:
        assert self._client is not None, "it is left only after it was entered"
        await self._client.close()


def async_connect(
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
) -> Connecting:
    """Connect to a server from a running event loop, and join it.

    Await it, which gives an :class:`AsyncHiSockClient`, or use it with ``async with``, which closes
    the client too. The client has joined when it is there: the server has answered its hello. A
    server that says nothing for a second is used all the same, unless there is a ``token`` or a
    ``codec`` other than JSON.

    Parameters and errors as for :class:`hisock.HiSockClient`.

    :raises TimeoutError: the server did not let a client with a ``token`` or another ``codec`` in
        within ``timeout`` seconds.
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
        error_handler=error_handler,
        strict=strict,
    )
    context, host = client_context(ssl), server_hostname or host_of(addr)
    return Connecting(_connect(ServerConnector(addr, context, host), options))


async def _connect(connector: Connector, options: ClientOptions) -> AsyncHiSockClient:
    driver = AsyncioDriver(connector, options)
    await driver.connect()
    return AsyncHiSockClient(driver)


publish("hisock", globals(), ("AsyncHiSockClient", "async_connect"))
