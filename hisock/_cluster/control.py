"""The connection between the parent process and one worker: a JSON object a line, both ways.

Its end says that the other process is gone, however it ended.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any, cast

ControlMessage = dict[str, Any]
#: Bytes of one line at most. The other end is a process of the same program, so more is a defect.
_LONGEST = 1024 * 1024


class Control(asyncio.Protocol):
    """One end of it, on an event loop.

    :param received: called with each message.
    :param ended: called once when the other process is gone, or the connection is closed.
    """

    def __init__(
        self, received: Callable[[ControlMessage], None], ended: Callable[[], None]
    ) -> None:
        self._received = received
        self._ended = ended
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    async def open(self, sock: socket.socket) -> None:
        """Talk over one of a pair of connected sockets."""
        sock.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # that of uvloop is none by its class

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            self.close()
        for line in lines:
            self._received(json.loads(line))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._ended()

    def send(self, kind: str, **data: Any) -> None:
        """Send a message; nothing happens when the other process is gone."""
        if self._transport is not None:
            self._transport.write(json.dumps({"kind": kind, **data}).encode() + b"\n")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
