"""What listens to how a connection begins, where it may be one of several kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from hisock._core.http import WebSocket

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.turnaway import Asking


class Greeter(Protocol):
    """Makes the protocols of connections that have been accepted just now."""

    def greet(self, endpoint: Connection | Asking, /) -> asyncio.BaseProtocol:
        """The protocol that hands the connection over once it knows what begins."""


def make_greeter(options: WebSocket, is_closing: Callable[[], bool]) -> Greeter:
    """What tells WebSockets from streams of frames.

    :raises ImportError: what that needs is not installed.
    """
    from hisock._websocket.front import Front  # only servers that take WebSockets pay for it

    return Front(options, is_closing)
