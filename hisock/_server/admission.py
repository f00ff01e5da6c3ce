"""The door of a server: who may come in, and how long one may stand in it.

A connection is in the door from the moment it is accepted until it has said hello and the program
has let it in. Over TLS it shakes hands first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hisock._core import protocol
from hisock._core.client_info import ClientInfo
from hisock._core.http import NO_WEBSOCKET
from hisock._core.reporting import withhold
from hisock._server.authentication import Accept, Authenticate, JoinRequest, require_yes
from hisock._server.limits import Headcount
from hisock.exceptions import Reject

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

#: Connections over the limit that are let in far enough to be told so.
_ANTECHAMBER = 64
#: Seconds between finding a client silent and ending its connection.
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
        self._headcount = Headcount(
            options.max_connections,
            options.max_connections_per_ip,
            (options.websocket or NO_WEBSOCKET).trusts,
        )
        #: Whose hands are being shaken, and the address that they are counted for.
        self._knocking: dict[Connection, str] = {}
        #: Those whose hands are shaken only to tell them why they may not come in.
        self._in_vain: set[Connection] = set()
        self._refusals: dict[Connection, str] = {}
        self._awaiting_hello: dict[Connection, float] = {}
        self._overdue: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Send those away who are still in the door."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._awaiting_hello):
            connection.abort()
        self._hub.deciding.close()

    def knock(self, connection: Connection, ip: str) -> str | None:
        """A connection is about to shake hands; returns why it may not, if it may not.

        It counts from now on. Who never ends the handshake would take no place otherwise. Of those
        who are too many, some may shake hands all the same, since nobody can be told why before.
        """
        refusal = self._headcount.come(ip)
        if refusal is None:
            self._knocking[connection] = ip
            return None
        self._headcount.go(ip)
        if len(self._in_vain) >= _ANTECHAMBER:
            return refusal
        self._in_vain.add(connection)
        return None

    def stop_knocking(self, connection: Connection) -> None:
        """Its hands are shaken, or it has given up."""
        self._in_vain.discard(connection)
        ip = self._knocking.pop(connection, None)
        if ip is not None:
            self._headcount.go(ip)

    def come(self, connection: Connection) -> None:
        """A connection has been accepted, and has shaken hands."""
        hub = self._hub
        self.stop_knocking(connection)  # from now on it counts by itself
        refusal = self._headcount.come(connection.info.addr[0])
        if refusal is not None:
            if len(self._refusals) >= _ANTECHAMBER:
                hub.leave(connection, "full", refusal, at_once=True)
                return
            # It is told when it has said whether it knows how to be told.
            self._refusals[connection] = refusal
        seconds = hub.options.hello_timeout
        self._awaiting_hello[connection] = hub.loop.time() + seconds
        if self._timer is None:
            self._timer = hub.loop.call_later(seconds, self._check_hellos)

    def moved(self, connection: Connection, before: str) -> None:
        """A connection has told that its client has another address than it seemed to."""
        self._headcount.go(before)
        refusal = self._headcount.come(connection.info.addr[0])
        self._refusals.pop(connection, None)
        if refusal is not None:
            self._refusals[connection] = refusal

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._awaiting_hello.pop(connection, None)
        self._refusals.pop(connection, None)

    def go(self, connection: Connection) -> None:
        """The transport of a connection is closed."""
        self._headcount.go(connection.info.addr[0])

    def _check_hellos(self) -> None:
        """End the connections whose hello is overdue; their deadlines are in order."""
        hub = self._hub
        now = hub.loop.time()
        self._timer = None
        overdue: list[Connection] = []
        for connection, deadline in self._awaiting_hello.items():
            if deadline > now:
                # Several at a time: each look begins with those that are overdue already.
                following = max(deadline, now + SECOND_LOOK)
                self._timer = hub.loop.call_at(following, self._check_hellos)
                break
            if connection not in self._overdue:
                self._overdue.add(connection)
                overdue.append(connection)
        if overdue:
            # A hello may have come while a handler kept the loop; then it is read before the
            # second look.
            spread = hub.thread.spread
            hub.loop.call_later(SECOND_LOOK, spread, overdue, self._check_overdue, MOST_ENDS)

    def _check_overdue(self, connection: Connection) -> None:
        self._overdue.discard(connection)
        if connection in self._awaiting_hello:
            seconds = self._hub.options.hello_timeout
            connection.fail("hello", f"no hello came within {seconds:g} seconds")

    def welcome(self, connection: Connection, hello: protocol.Hello) -> None:
        """Let a client in that said hello, or tell it why not."""
        del self._awaiting_hello[connection]
        refusal = self._refusals.pop(connection, None)
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

    def _ask(
        self, authenticate: Authenticate, connection: Connection, request: JoinRequest
    ) -> None:
        """Have the program decide about a client."""
        self._hub.deciding.ask(
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
            connection.info = ClientInfo(connection.info.addr, *connection.original)
            connection.session = answer.session
        self._hub.admit(connection)
        if connection.joined and connection.original != asked:
            self._hub.renaming.tell(connection)

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
        """Send a client away before it has joined."""
        if connection.knows("reject"):
            connection.writer.write_control(
                protocol.build_reserved(protocol.REJECT, reason.encode(), self._hub.header_len)
            )
        self._hub.leave(connection, kind, reason, goodbye=True)
