"""The seam to other servers: what a cluster is told by this server, and is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from hisock._core.client_info import ClientInfo
from hisock._server.audience import Audience, Kind
from hisock._server.stats import ClusterStats

if TYPE_CHECKING:
    from hisock._server.connection import Connection


class Backplane(Protocol):
    """Connects a server with others: it is notified of this server's clients and messages.

    It delivers what other servers publish with :meth:`Broadcast.deliver`. Everything runs on the
    loop's thread, except what says otherwise. Without one, nothing of this is on the way of a
    message; with one, a message for clients of this server alone takes one look at :attr:`reach`.

    :ivar reach: for each kind of audience, what other servers have some of it, by its name, for
        :meth:`pass_on`; nothing if none has. The dicts stay the same. From any thread.
    """

    reach: dict[Kind, dict[str, Any]]

    async def start(self) -> None:
        """The server begins to run; clients are accepted when this returns."""

    async def close(self) -> None:
        """The server has ended."""

    def claim(
        self, connection: Connection, name: str | None, done: Callable[[str | None], None]
    ) -> bool:
        """Make sure that a client may have a name, which no other client of any server may.

        :param done: called with ``None``, or with the reason why it may not.
        :returns: whether ``done`` will be called; ``False`` if there is nothing to wait for.
        """

    def admitted(self, client: ClientInfo) -> None:
        """A client has joined this server."""

    def changed(self, old: ClientInfo, new: ClientInfo) -> None:
        """A client of this server has another name or group."""

    def moved(self, client: ClientInfo, room: str, inside: bool) -> None:
        """A client of this server is in a room, or not any more."""

    def left(self, client: ClientInfo) -> None:
        """A client has left this server."""

    def abandoned(self, connection: Connection) -> None:
        """A connection has ended before its client joined; it may have claimed a name."""

    def describe(self, who: str) -> bytes | None:
        """The description of a client of another server, as clients get it."""

    def publish(
        self,
        audience: Audience,
        command: str,
        message: bytes | None,
        volatile: bool,
        latest: str | None,
    ) -> int:
        """Pass a message on; this server delivers it to its own clients itself.

        Called from any thread.

        :param volatile: clients that are behind do not get it.
        :param latest: the key of a state: the message replaces an older one with that key.
        :returns: how many clients of other servers it is for.
        """

    def pass_on(self, elsewhere: Any, kind: Kind, name: str, frame: bytes) -> int:
        """Pass a ready frame on to everybody, a group or a room, as :meth:`publish` does.

        :param elsewhere: what :attr:`reach` has of that audience.
        """

    def leads(self) -> bool:
        """Whether this server does what only one of all does. From any thread."""

    def stats(self) -> ClusterStats:
        """The figures of the cluster. From any thread."""
