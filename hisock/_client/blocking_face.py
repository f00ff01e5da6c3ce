"""What a blocking client tells of its connection."""

from __future__ import annotations

import socket
from typing import Any

from hisock._client.blocking_driver import BlockingDriver
from hisock._client.face import ClientFace
from hisock._runtime.tls import TLSSocket


class BlockingFace(ClientFace):
    """The part of a blocking client's API that needs no waiting."""

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

    def fileno(self) -> int:
        """The socket's descriptor, for ``select`` and ``selectors``; -1 when it is closed."""
        return self._driver.session.link.socket.fileno()
