"""What a blocking client tells of its connection."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator
from typing import Any, TypeVar, overload

from hisock._client.blocking_driver import BlockingDriver
from hisock._client.face import ClientFace
from hisock._core.binding import cast_reply
from hisock._core.checks import seconds
from hisock._runtime.tls import TLSSocket

T = TypeVar("T")


class BlockingFace(ClientFace):
    """The part of a blocking client's API beside sending, receiving and running."""

    _driver: BlockingDriver

    @property
    def closed(self) -> bool:
        """Whether the client is closed, by whichever side. Setting it to ``True`` closes it."""
        return self._driver.closed

    @closed.setter
    def closed(self, closed: bool) -> None:
        if closed:
            self.close()
        elif self.closed:
            raise ValueError("a client that is closed cannot be opened again; make a new one")

    def close(self, emit_leave: bool = True) -> None:
        """See :meth:`hisock.client.HiSockClient.close`."""
        raise NotImplementedError

    @property
    def sock(self) -> socket.socket:
        """The system's socket, for ``fileno``, ``getsockname`` and ``getpeername``; reading and
        writing are the client's own business."""
        connection = self._driver.session.link.socket
        return connection.raw if isinstance(connection, TLSSocket) else connection

    def get_client_addr(self) -> Any:
        """The client's own address, as the server sees it where nothing translates addresses."""
        return self._driver.session.link.local_addr

    # -- calling

    @overload
    def stream(
        self, command: str, content: Any = None, type: None = None, timeout: float | None = None
    ) -> Generator[bytes | None, None, None]: ...

    @overload
    def stream(
        self, command: str, content: Any = None, type: type[T] = ..., timeout: float | None = None
    ) -> Generator[T, None, None]: ...

    @overload
    def stream(
        self, command: str, content: Any = None, type: Any = ..., timeout: float | None = None
    ) -> Generator[Any, None, None]: ...

    def stream(
        self, command: str, content: Any = None, type: Any = None, timeout: float | None = None
    ) -> Generator[Any, None, None]:
        """Send a command, and iterate over what the server's handler yields.

        The handler is a generator, plain or async. At most 16 parts are on their way: a handler
        that yields faster than this side takes waits. Leaving the loop early cancels it.

        :param type: what each part is cast to; bytes, or ``None`` for an empty one, if not given.
        :param timeout: seconds to wait for each part; ``None`` waits for ever.
        :raises RemoteError: the handler raised, after the parts that came before that.
        :raises TimeoutError: no part came in time.
        :raises ConnectionLost: the connection ended meanwhile.
        :raises NotSupported: the server is older than this; nothing was sent.
        :raises RuntimeError: called in a handler that runs on the client's loop.
        :raises InvalidTypeCast: a part does not fit ``type``.
        """
        driver = self._driver
        cast = driver.codec.cast_for(type)
        encoded, limit = driver.codec.encode_exactly(content), seconds(timeout)
        with contextlib.closing(driver.stream(command, encoded, limit)) as parts:
            for part in parts:
                yield cast_reply(command, cast, part)

    def fileno(self) -> int:
        """The socket's descriptor, for ``select`` and ``selectors``; -1 when it is closed."""
        return self._driver.session.link.socket.fileno()
