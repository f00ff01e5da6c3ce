"""Accepting clients, over TLS and without.

The loops have servers of their own. They are not used, because of what they do when the process has
no descriptors left: asyncio's tries thousands of times in one go, and logs a traceback each time;
uvloop's hangs up on everybody who waits. Nor do they tell of a TLS handshake that fails.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

from hisock._core.reporting import LogLimit
from hisock._server.connection import Connection

if TYPE_CHECKING:
    from hisock._server.hub import Hub

logger = logging.getLogger("hisock.server")

#: Seconds to wait before accepting again when the system refuses, having no descriptors left.
_PAUSE_SECONDS = 0.5
#: Lines a second that are logged about that.
_LINES_PER_SECOND = 1 / 60
#: Connections accepted in one iteration of the loop; then clients that are connected have a turn.
_MOST_AT_ONCE = 64


class Acceptor:
    """Accepts the clients of one listening socket, and shakes hands with each where there is TLS.

    :param listener: a socket that listens and does not block.
    """

    def __init__(self, hub: Hub, listener: socket.socket) -> None:
        self._hub = hub
        self._listener = listener
        self._log_limit = LogLimit(_LINES_PER_SECOND, burst=1)
        self._retry: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        #: The hand-overs that are under way.
        self._arriving: dict[asyncio.Task[None], Connection] = {}
        self._tls: dict[str, Any] = {}
        if hub.options.tls is not None:
            self._tls["ssl"] = hub.options.tls
            self._tls["ssl_handshake_timeout"] = hub.options.hello_timeout
        self._accept()

    async def close(self) -> None:
        """Accept no more; handshakes that are under way are broken off."""
        self._rest()
        # Each hand-over begins, so that it closes its socket when it is cancelled.
        await asyncio.sleep(0)
        for task, connection in self._arriving.items():
            # The loop may have told the connection already that it is made, and not the task.
            if self._tls and not connection.made:
                task.cancel()
        if self._arriving:
            await asyncio.wait(list(self._arriving))

    def _accept(self) -> None:
        """From now on, accept whoever comes."""
        self._retry = None
        loop = self._hub.loop
        try:
            loop.add_reader(self._listener.fileno(), self._take_some)
        except NotImplementedError:  # asyncio's own loop on Windows
            self._task = loop.create_task(self._take_one_by_one())

    def _rest(self) -> None:
        """Let those who come wait."""
        if self._retry is not None:
            self._retry.cancel()
        elif self._task is not None:
            self._task.cancel()
        else:
            self._hub.loop.remove_reader(self._listener.fileno())

    def _take_some(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                sock, addr = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as exc:
                self._pause(exc)
                return
            self._take(sock, addr)

    async def _take_one_by_one(self) -> None:
        while True:
            try:
                sock, addr = await self._hub.loop.sock_accept(self._listener)
            except ConnectionError:
                continue
            except OSError as exc:
                self._task = None
                self._later(exc)
                return
            self._take(sock, addr)

    def _pause(self, exc: OSError) -> None:
        # The listener stays readable, so that the loop would call again, and again, for nothing.
        self._rest()
        self._later(exc)

    def _later(self, exc: OSError) -> None:
        loop = self._hub.loop
        self._retry = loop.call_later(_PAUSE_SECONDS, self._accept)
        if self._log_limit.permits(loop.time()):
            logger.warning(
                "no client can be accepted at the moment, trying again every %g s: %s",
                _PAUSE_SECONDS,
                exc,
            )

    def _take(self, sock: socket.socket, addr: Any) -> None:
        addr = addr or "a client"  # those on Unix sockets have no address
        connection = Connection(self._hub)
        if self._tls:
            ip = addr[0] if isinstance(addr, tuple) else "unix"
            refusal = self._hub.door.knock(connection, ip)
            if refusal is not None:
                # It cannot be told why: too many shake hands for that already.
                self._hub.note_end("full", refusal, addr)
                sock.close()
                return
        task = self._hub.loop.create_task(self._hand_over(connection, sock, addr))
        self._arriving[task] = connection
        task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._hub.door.stop_knocking(self._arriving.pop(task))

    async def _hand_over(self, connection: Connection, sock: socket.socket, addr: Any) -> None:
        """Give an accepted socket to the loop, which shakes hands and makes a connection of it."""
        loop = self._hub.loop
        try:
            sock.setblocking(False)
            await loop.connect_accepted_socket(lambda: connection, sock, **self._tls)
        except (OSError, asyncio.TimeoutError) as exc:
            sock.close()
            self._hub.door.stop_knocking(connection)
            if self._tls:
                self._hub.note_end("tls", f"the TLS handshake failed: {exc}", addr)
            else:
                self._hub.note_end("reset", str(exc), addr)
