"""The state of a server: where it listens, and whether it is closed."""

from __future__ import annotations

from socket import socket as Socket
from typing import Any

from hisock._server.lifecycle import Lifecycle


class ServerState:
    """The part of a server that knows where it listens, and whether it is closed.

    :ivar addr: the address that it listens at: the host as given, with the real port.
    """

    addr: Any
    _life: Lifecycle

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called, or the server has ended otherwise.

        Setting it to ``True`` closes the server.
        """
        return self._life.closed

    @closed.setter
    def closed(self, closed: bool) -> None:
        if closed:
            self.close()
        elif self.closed:
            raise ValueError("a server that is closed cannot be opened again; make a new one")

    def close(self, *, timeout: float | None = None) -> None:
        """See :meth:`hisock.server.HiSockServer.close`."""
        raise NotImplementedError

    @property
    def socket(self) -> Socket:
        """The first listening socket, for ``fileno`` and ``getsockname``; only the server itself
        accepts from it and closes it."""
        return self._life.sockets[0]

    def get_addr(self) -> Any:
        """Where the server listens."""
        return self.addr
