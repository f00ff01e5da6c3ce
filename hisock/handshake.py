"""Accepting clients over TLS.

The loop's own servers can do it too, but tell nobody of a handshake that fails.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING, Any

from hisock.connection import Connection

if TYPE_CHECKING:
    from hisock.hub import Hub

logger = logging.getLogger("hisock.server")

#: Seconds to wait before accepting again when the process has no descriptors left.
_PAUSE_SECONDS = 0.5
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TLSAcceptor:
    """Accepts clients of one listening socket and shakes hands with each.

    :param listener: a socket that listens and does not block.
    """

    def __init__(self, hub: Hub, listener: socket.socket) -> None:
        self._hub = hub
        self._listener = listener
        self._task = hub.loop.create_task(self._accept())

    def close(self) -> None:
        """Accept no more."""
        self._task.cancel()

    async def _accept(self) -> None:
        loop = self._hub.loop
        while True:
            try:
                sock, addr = await loop.sock_accept(self._listener)
            except OSError as exc:
                if exc.errno in _NO_DESCRIPTORS:
                    logger.warning("no client can be accepted at the moment: %s", exc)
                    await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self._hub.add_task(self._shake_hands(sock, addr or "a client"))

    async def _shake_hands(self, sock: socket.socket, addr: Any) -> None:
        hub = self._hub
        try:
            await hub.loop.connect_accepted_socket(
                lambda: Connection(hub),
                sock,
                ssl=hub.options.tls,
                ssl_handshake_timeout=hub.options.hello_timeout,
            )
        except (OSError, asyncio.TimeoutError) as exc:
            hub.note_end("tls", f"the TLS handshake failed: {exc}", addr)
