"""What a server tells of itself: where it listens, and whether it is closed."""

from __future__ import annotations

from socket import socket as Socket
from typing import Any

from hisock._server.lifecycle import Lifecycle


class ServerState:
    """The part of a server that tells where it listens, and whether it still does.

    :ivar addr: where it listens, by the host that was given and with the real port.
    """

    addr: Any
    _life: Lifecycle

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called, or the server ended otherwise.

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
        """The first socket that listens, for ``fileno`` and ``getsockname``; accepting and closing
        are the server's own business."""
        return self._life.sockets[0]

    def get_addr(self) -> Any:
        """Where the server listens."""
        return self.addr
