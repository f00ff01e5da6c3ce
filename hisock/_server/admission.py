"""Admission: which connections may join a server, and how long joining may take.

A connection is pending from the moment it is accepted until its hello has come and the program has
accepted the client. Over TLS the handshake comes first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hisock._core import protocol
from hisock._core.http import NO_WEBSOCKET
from hisock._core.reporting import withhold
from hisock._server.admin import Admin
from hisock._server.authentication import Accept, Authenticate, JoinRequest, require_yes
from hisock._server.limits import ConnectionCount
from hisock.exceptions import Reject

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

#: Connections over the limit that are kept until a ``$REJECT$`` can tell them why they end.
_MAX_PENDING_REJECTIONS = 64
#: Seconds between finding a client silent and ending its connection: what has come meanwhile is
#: read in between.
SECOND_LOOK = 0.05
#: Connections ended in one iteration of the loop, where many are silent at once.
MOST_ENDS = 16


class Admission:
    """The connections that have not joined yet.

    :ivar authenticate: decides who may join; ``None`` lets everybody in.
    """

    def __init__(self, hub: Hub) -> None:
        options = hub.options
        self._hub = hub
        self.authenticate: Authenticate | None = None
        self._count = ConnectionCount(
            options.max_connections,
            options.max_connections_per_ip,
            (options.websocket or NO_WEBSOCKET).trusts,
        )
        token = options.admin_token
        self._admin = None if token is None else Admin(hub, token)
        #: TLS handshakes under way, each with the address that it is counted for.
        self._handshakes: dict[Connection, str] = {}
        #: TLS handshakes over the limit, which go on only so that a ``$REJECT$`` can be sent.
        self._handshakes_to_reject: set[Connection] = set()
        self._refusals: dict[Connection, str] = {}
        self._awaiting_hello: dict[Connection, float] = {}
        self._overdue: set[Connection] = set()
        #: Whether a timer is set for the first of them.
        self._timed = False

    def close(self) -> None:
        """End all connections that have not joined."""
        for connection in list(self._awaiting_hello):
            connection.abort()
        if self._admin is not None:
            self._admin.close()
        self._hub.decisions.close()

    def handshake_started(self, connection: Connection, ip: str) -> str | None:
        """Count a connection that begins a TLS handshake; returns why it is refused, if it is.

        It counts from now on, or connections that never end their handshake would be unlimited.
        Some over the limit are allowed to complete it, since a reason can be sent only after it.
        """
        refusal = self._count.add(ip)
        if refusal is None:
            self._handshakes[connection] = ip
            return None
        self._count.remove(ip)
        if len(self._handshakes_to_reject) >= _MAX_PENDING_REJECTIONS:
            return refusal
        self._handshakes_to_reject.add(connection)
        return None

    def handshake_ended(self, connection: Connection) -> None:
        """A TLS handshake is complete, or has failed."""
        self._handshakes_to_reject.discard(connection)
        ip = self._handshakes.pop(connection, None)
        if ip is not None:
            self._count.remove(ip)

    def accepted(self, connection: Connection) -> None:
        """A connection has been accepted, and its TLS handshake is complete."""
        hub = self._hub
        self.handshake_ended(connection)  # it is counted as a connection from now on
        refusal = self._count.add(connection.info.addr[0])
        if refusal is not None:
            if len(self._refusals) >= _MAX_PENDING_REJECTIONS:
                hub.leave(connection, "full", refusal, at_once=True)
                return
            # Rejected once its hello shows whether it understands $REJECT$.
            self._refusals[connection] = refusal
        seconds = hub.options.hello_timeout
        self._awaiting_hello[connection] = hub.loop.time() + seconds
        if not self._timed:
            self._timed = True
            hub.thread.later(seconds, self._check_hellos)

    def address_changed(self, connection: Connection, before: str) -> None:
        """A trusted proxy has told the real address of a connection's client."""
        self._count.remove(before)
        refusal = self._count.add(connection.info.addr[0])
        self._refusals.pop(connection, None)
        if refusal is not None:
            self._refusals[connection] = refusal

    def ended(self, connection: Connection) -> None:
        """A connection has ended."""
        self._awaiting_hello.pop(connection, None)
        self._refusals.pop(connection, None)

    def closed(self, connection: Connection) -> None:
        """The transport of a connection is closed."""
        self._count.remove(connection.info.addr[0])

    def _check_hellos(self) -> None:
        """End the connections with an overdue hello; their deadlines are in order."""
        hub = self._hub
        now = hub.loop.time()
        self._timed = False
        overdue: list[Connection] = []
        for connection, deadline in self._awaiting_hello.items():
            if deadline > now:
                # Deadlines that are close together are checked together, not one timer each.
                self._timed = True
                hub.thread.later(max(deadline - now, SECOND_LOOK), self._check_hellos)
                break
            if connection not in self._overdue:
                self._overdue.add(connection)
                overdue.append(connection)
        if overdue:
            # A hello may have arrived while a handler kept the loop busy; it is read before this
            # second check.
            spread = hub.thread.spread
            hub.loop.call_later(SECOND_LOOK, spread, overdue, self._check_overdue, MOST_ENDS)

    def _check_overdue(self, connection: Connection) -> None:
        self._overdue.discard(connection)
        if connection in self._awaiting_hello:
            seconds = self._hub.options.hello_timeout
            connection.fail("hello", f"no hello came within {seconds:g} seconds")

    def hello_received(self, connection: Connection, hello: protocol.Hello) -> None:
        """Admit a client after its hello, or tell it why not."""
        del self._awaiting_hello[connection]
        refusal = self._refusals.pop(connection, None)
        if hello.admin is not None:
            # Even if the server is full of clients: then an administrator is needed most.
            self._let_in_admin(connection, hello.admin)
            return
        codec = self._hub.events.codec.name
        if refusal is not None:
            self.reject(connection, refusal, "full")
        elif (theirs := hello.codec if connection.features is not None else "json") != codec:
            self.reject(connection, f"the server's codec is {codec!r}, not {theirs!r}")
        elif self.authenticate is None:
            self._hub.admit(connection)
        else:
            request = JoinRequest(
                hello.name, hello.group, connection.info.addr, hello.token, connection.http_request
            )
            self._ask(self.authenticate, connection, request)

    def _let_in_admin(self, connection: Connection, token: str) -> None:
        if self._admin is None:
            self.reject(connection, "this server was made without admin_token")
        else:
            self._admin.hello_received(connection, token)

    def _ask(
        self, authenticate: Authenticate, connection: Connection, request: JoinRequest
    ) -> None:
        """Have the program decide about a client."""
        self._hub.decisions.ask(
            connection,
            lambda: authenticate(request),
            lambda answer: self._decide(connection, answer),
            lambda exc: self._refuse(connection, exc, request),
        )

    def _decide(self, connection: Connection, answer: Any) -> None:
        try:
            require_yes(answer)
        except Reject as exc:
            self.reject(connection, exc.reason)
            return
        asked = connection.original
        if isinstance(answer, Accept):
            connection.original = answer.identity(*asked)
            connection.info = connection.info._called(*connection.original)
            connection.session = answer.session
        self._hub.admit(connection, renamed=connection.original != asked)

    def _refuse(self, connection: Connection, exc: Exception, request: JoinRequest) -> None:
        if isinstance(exc, Reject):
            self.reject(connection, exc.reason)
        elif isinstance(exc, asyncio.TimeoutError):
            seconds = self._hub.options.auth_timeout
            self.reject(connection, f"authentication took more than {seconds:g} seconds")
        else:
            if request.token is not None:
                withhold(exc)  # such as the KeyError of accounts[token]
            self._hub.runner.report(exc, "authenticate", connection.info)
            self.reject(connection, "the server could not authenticate the client")

    def reject(self, connection: Connection, reason: str, kind: str = "rejected") -> None:
        """Reject a client that has not joined: send ``$REJECT$`` if it knows it, then end it."""
        if connection.knows("reject"):
            connection.writer.write_control(
                protocol.build_reserved(protocol.REJECT, reason.encode(), self._hub.header_len)
            )
        self._hub.leave(connection, kind, reason, goodbye=True)
