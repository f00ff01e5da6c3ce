"""Accepting clients, over TLS and without.

The servers that the loops bring are not used because of what they do when the process is out of
file descriptors: asyncio's tries thousands of times in a row and logs a traceback each time,
uvloop's drops the whole backlog. Neither reports a TLS handshake that fails.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

from hisock._core.addresses import format_addr
from hisock._core.log_fields import fields
from hisock._core.reporting import LogLimit
from hisock._runtime import sockets
from hisock._runtime.accepting import Accepting
from hisock._runtime.sockets import ListeningSocket
from hisock._server.connection import Connection
from hisock._server.handing_over import HandingOver
from hisock._server.turnaway import Turnaway

if TYPE_CHECKING:
    from hisock._server.hub import Hub

logger = logging.getLogger("hisock.server")

#: Seconds to wait before accepting again when the system refuses, having no descriptors left.
_PAUSE_SECONDS = 0.5
#: Log lines a second about that.
_LINES_PER_SECOND = 1 / 60
#: Connections accepted in one iteration of the loop, so that connected clients are served between.
_MOST_AT_ONCE = 8


class Acceptor:
    """Accepts the clients of one listening socket, with a TLS handshake where there is TLS.

    It is a :class:`hisock._server.listener.Listener`.

    :param listening: the socket; it does not block.
    """

    _hub: Hub

    def __init__(self, listening: ListeningSocket) -> None:
        self._listening = listening
        self._listener = listening.sock
        self._log_limit = LogLimit(_LINES_PER_SECOND, burst=1)
        self._retry: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._family = listening.sock.family
        self._is_unix = sockets.is_unix(listening.sock)
        self._started = False

    def start(self, hub: Hub) -> None:
        """Accept clients for a hub."""
        self._hub = hub
        self._started = True
        self._arriving = HandingOver(hub.loop, self._hand_over)
        self._accepting = Accepting(hub.loop, hub.options.tls, hub.options.hello_timeout)
        self._accept()

    async def close(self) -> None:
        """Accept no more clients, and free the address; handshakes under way are aborted.

        Where load balancers may ask for the server's health, the address is kept until the server
        has closed, so that they are told that it is closing.
        """
        if not self._started:  # something else could not be started
            self._listening.close()
            return
        self._stop_accepting()
        if self._hub.options.tls is not None:
            self._arriving.cancel()
        await self._arriving.close()
        if not self._turn_away():
            self._listening.close()
            self._accepting.close()

    def _turn_away(self) -> bool:
        """Have new connections answered, from now on, that the server is closing."""
        options = self._hub.options.websocket
        # At a shared address the other processes go on accepting, and are not closing.
        if options is None or options.health is None or self._listening.shared:
            return False
        return self._hub.shutdown.turn_away(Turnaway(self._hub, self._listening, self._accepting))

    def _accept(self) -> None:
        """Accept connections from now on."""
        self._retry = None
        loop = self._hub.loop
        try:
            loop.add_reader(self._listener.fileno(), self._take_some)
        # On Windows, asyncio's own loop cannot.
        except NotImplementedError:  # pragma: no cover - measured on Linux
            self._task = loop.create_task(self._take_one_by_one())

    def _stop_accepting(self) -> None:
        """Leave new connections in the kernel's backlog."""
        if self._retry is not None:
            self._retry.cancel()
        elif self._task is not None:
            self._task.cancel()
        else:
            self._hub.loop.remove_reader(self._listener.fileno())

    def _take_some(self) -> None:
        # A flood by ever new connections would hold up the others for as long as all of them take.
        most = 1 if self._hub.runner.turns.behind else _MOST_AT_ONCE
        for _ in range(most):
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

    async def _take_one_by_one(self) -> None:  # pragma: no cover - measured on Linux
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
        # The listening socket stays readable: the loop would call again and again, in vain.
        self._stop_accepting()
        self._later(exc)

    def _later(self, exc: OSError) -> None:
        loop = self._hub.loop
        self._retry = loop.call_later(_PAUSE_SECONDS, self._accept)
        if self._log_limit.permits(loop.time()):
            logger.warning(
                "no client can be accepted at the moment, trying again every %g s: %s",
                _PAUSE_SECONDS,
                exc,
                extra=fields("accepting_paused", reason=exc),
            )

    def _take(self, sock: socket.socket, peername: Any) -> None:
        addr = self._address(peername)
        if addr is None:
            # The peer has closed already, and some systems no longer tell its address then.
            sock.close()
            self._hub.note_end("reset", "it was gone before it was accepted", "a client")
            return
        if not self._hub.limits.permits_connection(addr[0]):
            self._hub.note_end("rate", "too many connections of its address", format_addr(addr))
            sock.close()
            return
        sockets.tell_family(sock, self._family)
        connection = Connection(self._hub, addr)
        if self._hub.options.tls is None:
            connection.writer.socket = sock
            self._arriving.add(connection, sock)
            return
        refusal = self._hub.admission.handshake_started(connection, addr[0])
        if refusal is None:
            self._arriving.add(connection, sock)
            return
        # No reason is sent: too many handshakes are under way only for that already.
        self._hub.note_end("full", refusal, connection.info)
        sock.close()

    def _address(self, peername: Any) -> tuple[str, int] | None:
        """The address that the system gave when it accepted; ``None`` if it gave none.

        The socket is not asked for it later: one that was reset has no address any more, and its
        peer must not be mistaken for one on a Unix socket.
        """
        if self._is_unix:
            return self._hub.next_unix_address()
        return tuple(peername[:2]) if peername else None

    async def _hand_over(self, connection: Connection, sock: socket.socket) -> None:
        """Give an accepted socket to the loop, which does the handshake and connects it."""
        greeter = self._hub.greeter
        tls = self._hub.options.tls is not None
        try:
            await self._accepting.accept(
                lambda: connection if greeter is None else greeter.greet(connection), sock
            )
        except (OSError, asyncio.TimeoutError) as exc:
            sock.close()
            if tls:
                reason = str(exc) or "the client hung up"
                text = f"the TLS handshake failed: {reason}"
                self._hub.note_end("tls", text, connection.info)
            else:
                self._hub.note_end("reset", str(exc), connection.info)
        finally:
            if tls:
                self._hub.admission.handshake_ended(connection)
