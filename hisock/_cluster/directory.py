"""The clients of a whole cluster: a :class:`hisock._server.directory.Directory`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hisock._cluster.records import Order
from hisock._cluster.roster import Remote, RemoteInfo
from hisock._core.client_info import ClientInfo, ClientRef, title_of
from hisock.exceptions import ClientNotFound, GroupNotFound, NotLocal

if TYPE_CHECKING:
    from hisock._cluster.plane import Plane
    from hisock._server.connection import Connection
    from hisock._server.directory import OwnDirectory

_REMEDIES: Final = {
    "session()": "keep what several servers need in a store of your own, or ask its server with "
    "server.cluster.call(client.node, ...)",
    "backlog()": "ask its server with server.cluster.call(client.node, ...)",
    "wait_for()": "use call(), which reaches clients of all servers",
}


class ClusterDirectory:
    """The clients of this process and of the others; those of this process come first."""

    def __init__(self, plane: Plane, own: OwnDirectory) -> None:
        self._plane = plane
        self._own = own

    def __len__(self) -> int:
        return len(self._own) + self._plane.roster.count

    def infos(self) -> list[ClientInfo]:
        return [*self._own.infos(), *(client.info for client in self._plane.roster)]

    def remote(self, client: ClientRef | Any) -> Remote | None:
        """The client of another process that is meant, or ``None``.

        :raises ClientNotFound: it was one, and is gone.
        """
        found = self._plane.elsewhere(client)
        if found is None and type(client) is RemoteInfo:
            raise ClientNotFound(f"{title_of(client)} is no longer connected")
        return found

    def info(self, client: ClientRef) -> ClientInfo:
        remote = self.remote(client)
        return self._own.info(client) if remote is None else remote.info

    def group(self, name: str) -> list[ClientInfo]:
        others: list[ClientInfo] = [one.info for one in self._plane.roster.groups.of(name)]
        try:
            return [*self._own.group(name), *others]
        except GroupNotFound:
            if not others:
                raise
            return others

    def room(self, name: str) -> list[ClientInfo]:
        others = self._plane.roster.rooms.of(name)
        return [*self._own.room(name), *(client.info for client in others)]

    def rooms(self, client: ClientRef) -> set[str]:
        remote = self.remote(client)
        return self._own.rooms(client) if remote is None else set(remote.rooms)

    def move(self, client: ClientRef, room: str, inside: bool) -> None:
        remote = self.remote(client)
        if remote is None:
            self._own.move(client, room, inside)
        else:
            self._plane.hub.thread.run(lambda: self._plane.orders.move(remote, room, inside))

    def disconnect(self, client: ClientRef, force: bool, call_func: bool) -> None:
        remote = self.remote(client)
        if remote is None:
            self._own.disconnect(client, force, call_func)
        else:
            order = Order("kick", remote.number, force=force, call_func=call_func)
            self._plane.orders.give(remote, order)

    def here(self, client: ClientRef, what: str) -> Connection:
        remote = self.remote(client)
        if remote is None:
            return self._own.here(client, what)
        remedy = _REMEDIES.get(what, "ask its server with server.cluster.call(client.node, ...)")
        raise NotLocal(
            f"{title_of(remote.info)} is connected to the node {remote.node}, and {what} is about "
            f"clients of this process only; {remedy}"
        )
