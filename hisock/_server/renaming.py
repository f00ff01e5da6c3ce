"""Changes of names and groups that clients ask for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from hisock._core import protocol
from hisock._core.client_info import ClientInfo
from hisock._core.log_fields import fields
from hisock._core.reporting import LogLimit, one_line
from hisock._server.authentication import AuthorizeChange, ChangeRequest, require_yes
from hisock.exceptions import Reject

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

logger = logging.getLogger("hisock.server")


class _Change(NamedTuple):
    """A client's request to change its name or group."""

    connection: Connection
    frame: bytes
    request: ChangeRequest


class Renaming:
    """Decides about new names and groups. Everything here runs on the loop's thread.

    :ivar authorize: the program's function that decides. If it is ``None``, all changes are
        allowed, unless there is a function that authenticates clients: then none are.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.authorize: AuthorizeChange | None = None
        self._log_limit = LogLimit()

    def change_name(self, connection: Connection, name: str | None) -> None:
        """Handle a client's request for a name."""
        request = ChangeRequest(connection.info, name, connection.info.group)
        self._ask(_Change(connection, protocol.CHANGE_NAME, request))

    def change_group(self, connection: Connection, group: str | None) -> None:
        """Handle a client's request for a group."""
        request = ChangeRequest(connection.info, connection.info.name, group)
        self._ask(_Change(connection, protocol.CHANGE_GROUP, request))

    def _ask(self, change: _Change) -> None:
        hub, authorize, request = self._hub, self.authorize, change.request
        if not hub.limits.permits_change(change.connection):
            self._refuse(change, "too many changes come from its address")
            return
        unchanged = request[1:] == (request.client.name, request.client.group)
        if unchanged or (authorize is None and hub.admission.authenticate is None):
            self._apply(change)
        elif authorize is None:
            self._refuse(change, "there is no function of authorize_change")
        else:
            hub.decisions.ask(
                change.connection,
                lambda: authorize(request),
                lambda answer: self._decide(change, answer),
                lambda exc: self._fail(change, exc),
            )

    def _decide(self, change: _Change, answer: object) -> None:
        try:
            require_yes(answer)
        except Reject as exc:
            self._refuse(change, exc.reason)
        else:
            self._apply(change)

    def _fail(self, change: _Change, exc: Exception) -> None:
        if isinstance(exc, Reject):
            self._refuse(change, exc.reason)
        else:
            self._hub.runner.report(exc, "authorize_change", change.request.client)
            self._refuse(change, "the function of authorize_change failed")

    def _apply(self, change: _Change) -> None:
        hub, connection = self._hub, change.connection
        old, name, group = change.request
        if name != old.name and hub.options.unique_names and hub.registry.has_name(name):
            self._refuse(change, "the name is taken")
            return
        if name != old.name and self._must_claim(change):
            return
        hub.change(connection, ClientInfo(old.addr, name, group))
        self._confirm(change)
        if change.frame == protocol.CHANGE_NAME:
            hub.events.fire("name_change", connection, old.name, name)
        else:
            hub.events.fire("group_change", connection, old.group, group)

    def _must_claim(self, change: _Change) -> bool:
        backplane = self._hub.broadcast.backplane
        return backplane is not None and backplane.claim(
            change.connection, change.request.name, lambda refusal: self._claimed(change, refusal)
        )

    def _claimed(self, change: _Change, refusal: str | None) -> None:
        if change.connection.ended:
            return
        if refusal is None:
            self._apply(change)
        else:
            self._refuse(change, refusal)

    def _refuse(self, change: _Change, reason: str) -> None:
        if self._log_limit.permits(self._hub.loop.time()):
            logger.warning(
                "%s stays what it is: %s",
                change.request.client.shown(),
                one_line(reason),
                extra=fields("change_refused", client=change.request.client, reason=reason),
            )
            if self._log_limit.withheld:
                count = self._log_limit.reset()
                more = fields("change_refused", withheld=count)
                logger.warning("%d more stayed what they are", count, extra=more)
        self._confirm(change)

    def _confirm(self, change: _Change) -> None:
        """Send the client its present name or group, which may not be the one it asked for."""
        if change.frame == protocol.CHANGE_NAME:
            self._tell(change.connection, change.frame, change.connection.info.name)
        else:
            self._tell(change.connection, change.frame, change.connection.info.group)

    def tell(self, connection: Connection) -> None:
        """Send a client that has just joined the name and group that the program gave it."""
        self._tell(connection, protocol.CHANGE_NAME, connection.info.name)
        self._tell(connection, protocol.CHANGE_GROUP, connection.info.group)

    def _tell(self, connection: Connection, frame: bytes, text: str | None) -> None:
        if connection.knows("names"):
            data = protocol.encode_name(text)
            connection.writer.write_control(
                protocol.build_reserved(frame, data, self._hub.header_len)
            )
