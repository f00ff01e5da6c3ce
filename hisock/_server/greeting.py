"""Detection of a connection's protocol, where it may be a WebSocket or a stream of frames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from hisock._core.http import WebSocket

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.turnaway import Asking


class Greeter(Protocol):
    """Makes the protocols that detect what a newly accepted connection speaks."""

    def greet(self, endpoint: Connection | Asking, /) -> asyncio.BaseProtocol:
        """A protocol that hands the connection over once its first bytes tell what it is."""


def make_greeter(options: WebSocket, is_closing: Callable[[], bool]) -> Greeter:
    """Make the detector of WebSockets.

    :raises ImportError: the package that WebSockets need is not installed.
    """
    from hisock._websocket.front import Front  # imported only by servers that take WebSockets

    return Front(options, is_closing)
