"""What a program asks of the clients of a server, and has done to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from hisock._core.addresses import Addr
from hisock._core.client_info import ClientInfo, ClientRef
from hisock.exceptions import ClientNotFound

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub


class Directory(Protocol):
    """The clients of a server, or of all servers of a cluster. From any thread.

    What takes a client raises :class:`ClientNotFound` if no such client is connected, and
    :class:`ValueError` for what cannot name one.
    """

    def __len__(self) -> int: ...

    def infos(self) -> list[ClientInfo]:
        """All clients."""

    def info(self, client: ClientRef) -> ClientInfo:
        """One client."""

    def group(self, name: str) -> list[ClientInfo]:
        """The clients in a group.

        :raises GroupNotFound: there are none.
        """

    def room(self, name: str) -> list[ClientInfo]:
        """The clients in a room."""

    def rooms(self, client: ClientRef) -> set[str]:
        """The rooms of a client."""

    def move(self, client: ClientRef, room: str, inside: bool) -> None:
        """Put a client into a room, or take it out.

        :raises ValueError: it is in as many rooms as one client may be.
        """

    def disconnect(self, client: ClientRef, force: bool, call_func: bool) -> None:
        """Disconnect a client."""

    def here(self, client: ClientRef, what: str) -> Connection:
        """The connection of a client of this process.

        :param what: what needs it, for the error.
        :raises NotLocal: it is a client of another process.
        """


class OwnDirectory:
    """The clients of this process; see :class:`Directory`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._registry = hub.registry

    def __len__(self) -> int:
        return len(self._registry)

    def infos(self) -> list[ClientInfo]:
        return [peer.info for peer in self._registry]

    def info(self, client: ClientRef) -> ClientInfo:
        return self._registry.find(client).info

    def group(self, name: str) -> list[ClientInfo]:
        return [peer.info for peer in self._registry.require_group(name)]

    def room(self, name: str) -> list[ClientInfo]:
        return [peer.info for peer in list(self._registry.rooms.members(name).values())]

    def rooms(self, client: ClientRef) -> set[str]:
        return set(self.here(client, "rooms()").rooms or ())

    def move(self, client: ClientRef, room: str, inside: bool) -> None:
        self._hub.thread.run(lambda: self._move(self._registry.find(client), room, inside))

    def _move(self, peer: Connection, room: str, inside: bool) -> None:
        if inside:
            self._registry.rooms.join(peer, room)
            if self._hub.memory.over:
                # Not now: a handler of this client may be running.
                self._hub.loop.call_soon(self._hub.backpressure.free_memory, peer)
        else:
            self._registry.rooms.leave(peer, room)
        backplane = self._hub.broadcast.backplane
        if backplane is not None:
            backplane.moved(peer.info, room, inside)

    def disconnect(self, client: ClientRef, force: bool, call_func: bool) -> None:
        hub = self._hub
        hub.thread.run(lambda: hub.disconnect(self._registry.find(client), force, call_func))

    def here(self, client: ClientRef, what: str) -> Connection:
        # Also one that is just leaving.
        peer: Connection | None = client._peer if isinstance(client, ClientInfo) else None
        if peer is not None and peer.hub is self._hub:
            return peer
        return self._registry.find(client)


class ClientsView(Mapping[Addr, ClientInfo]):
    """The connected clients by address, a live read-only mapping in order of joining."""

    __slots__ = ("_directory",)

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def __getitem__(self, client: ClientRef) -> ClientInfo:
        try:
            return self._directory.info(client)
        except ClientNotFound:
            raise KeyError(client) from None

    def __iter__(self) -> Iterator[Addr]:
        return (info.addr for info in self._directory.infos())

    def __len__(self) -> int:
        return len(self._directory)

    def __repr__(self) -> str:
        return f"ClientsView({self._directory.infos()!r})"


#: Says whether this server does what only one of all does.
Leads = Callable[[], bool]
