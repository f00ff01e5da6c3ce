"""Administration: what a program with the server's ``admin_token`` may see and do.

An administrator is no client. Its connection says in its hello that it is one, and with which
token. The server then gives the transport to an :class:`AdminConnection`, which answers calls of
its own few commands; no handler of the program is ever reached by it, and no client hears of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from typing import TYPE_CHECKING

from hisock._core import call_frames, protocol
from hisock._core.addresses import network_of
from hisock._core.calls import MOST_ERROR_BYTES
from hisock._core.log_fields import fields
from hisock._core.rates import AddressRates, RateLimit
from hisock._core.reporting import error_text, one_line
from hisock._server.admin_commands import AdminCommands
from hisock.exceptions import ProtocolError
from hisock.framing import Decoder, FramingError

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

logger = logging.getLogger("hisock.server")

#: The name in the server's hello to an administrator.
FEATURE = "admin"
#: Administrators at once.
MOST_ADMINS = 16
#: Seconds without a call after which the connection of an administrator is closed.
IDLE_SECONDS = 60.0
#: Bytes of a call, and of answers that wait to be written.
_LARGEST_CALL = 16 * 1024
_MOST_UNWRITTEN = 4 * 1024 * 1024
#: Wrong tokens: one in twelve seconds and five at once from an address, ten times that from all.
_WRONG_RATE, _WRONG_BURST = 1 / 12, 5
_WRONG_RATE_OF_ALL, _WRONG_BURST_OF_ALL = 10 * _WRONG_RATE, 10 * _WRONG_BURST


class Admin:
    """Lets administrators in.

    :param token: the secret that each of them has to know.
    """

    def __init__(self, hub: Hub, token: str) -> None:
        self._hub = hub
        self._digest = _digest(token)
        self._wrong = AddressRates(_WRONG_RATE, _WRONG_BURST)
        self._wrong_of_all: RateLimit | None = None
        self._connections: set[AdminConnection] = set()
        self.commands = AdminCommands(hub, lambda: len(self._connections))

    def hello_received(self, connection: Connection, token: str) -> None:
        """Let an administrator in, or tell it why not."""
        refusal = self._refusal(connection, token)
        if refusal is not None:
            self._hub.admission.reject(connection, refusal)
            return
        addr = connection.info.ip
        said = fields("admin_connected", client=addr)
        logger.info("an administrator connected from %s", addr, extra=said)
        transport = connection.discard()
        self._hub.disconnected(connection)
        admin = AdminConnection(self, self._hub, transport, addr)
        self._connections.add(admin)
        self.commands.watched(True)
        transport.set_protocol(admin)
        admin.start()

    def _refusal(self, connection: Connection, token: str) -> str | None:
        """Why a connection may not administer the server; ``None`` if it may."""
        if connection.http_request is not None:
            return "administrators connect by TCP, not by a WebSocket"
        now = self._hub.loop.time()
        network = network_of(connection.info.addr[0])
        if self._wrong_of_all is None:
            self._wrong_of_all = RateLimit(_WRONG_RATE_OF_ALL, _WRONG_BURST_OF_ALL, now)
        if self._wrong.exhausted(network, now) or not self._wrong_of_all.allowance(now):
            return "too many wrong admin tokens; wait a minute"
        if not hmac.compare_digest(_digest(token), self._digest):
            self._wrong.spend(network, now)
            self._wrong_of_all.spend(1)
            return "the admin token is wrong"
        if len(self._connections) >= MOST_ADMINS:
            return f"there are {MOST_ADMINS} administrators already"
        return None

    def ended(self, connection: AdminConnection) -> None:
        """The connection of an administrator is closed."""
        self._connections.discard(connection)
        self.commands.watched(bool(self._connections))

    def close(self) -> None:
        """The server closes."""
        for connection in list(self._connections):
            connection.end("the server is closing")


def _digest(token: str) -> bytes:
    # Digests are of one length, so that a comparison tells nothing of the token's either.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class AdminConnection(asyncio.Protocol):
    """The connection of one administrator: calls, and their replies.

    :param addr: from where, for the log.
    """

    def __init__(self, admin: Admin, hub: Hub, transport: asyncio.Transport, addr: str) -> None:
        self._admin = admin
        self._hub = hub
        self._transport = transport
        self._addr = addr
        self._decoder = Decoder(hub.header_len, _LARGEST_CALL)
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def start(self) -> None:
        """Say the server's hello."""
        hello = protocol.build_server_hello("json", self._hub.header_len, None, [FEATURE])
        self._transport.write(hello)
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        reason = f"it asked nothing for {IDLE_SECONDS:g} seconds"
        self._timer = self._hub.loop.call_later(IDLE_SECONDS, self.end, reason)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._wait()
        try:
            for command, payload in self._decoder.feed(data):
                if not self._over:
                    self._take(command, payload)
        except (FramingError, ProtocolError) as exc:
            self.end(one_line(exc))

    def _take(self, command: str | None, payload: bytes | None) -> None:
        """Take one frame.

        :raises ProtocolError: administrators do not send it.
        """
        reserved = None if command is not None else protocol.split_reserved(payload or b"")
        if reserved is None:
            raise ProtocolError("an administrator sends calls only")
        name, data = reserved
        if name == protocol.CALL:
            self._answer(call_frames.parse_call(data))
        elif name == protocol.LEAVE:
            self.end("it said goodbye")
        elif name not in (protocol.CANCEL, protocol.KEEPALIVE_ACK):
            raise protocol.unexpected(name, "server")

    def _answer(self, call: call_frames.Call) -> None:
        try:
            answer = self._admin.commands.run(call.command, call.message, self._addr)
            reply = call_frames.Reply(call.number, answer)
        except Exception as exc:
            text = one_line(error_text(exc), MOST_ERROR_BYTES // 4)
            reply = call_frames.Reply(call.number, None, text)
        self._transport.write(call_frames.build_reply(reply, self._hub.header_len))
        if self._transport.get_write_buffer_size() > _MOST_UNWRITTEN:
            self._transport.abort()

    def end(self, reason: str) -> None:
        """Say goodbye and close."""
        if self._over:
            return
        self._over = True
        self._log_end(reason)
        header_len = self._hub.header_len
        self._transport.write(protocol.build_reserved(protocol.DISCONNECT, header_len=header_len))
        self._transport.close()
        self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over:
            self._over = True
            self._log_end("its connection was lost" if exc is None else one_line(exc))
            self._forget()

    def _log_end(self, reason: str) -> None:
        said = fields("admin_gone", client=self._addr, reason=reason)
        logger.info("the administrator at %s has gone: %s", self._addr, reason, extra=said)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._admin.ended(self)
