"""Who is on a server: looking clients up, their rooms and sessions, and sending them away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, cast, overload

from hisock._core import protocol
from hisock._core.client_info import ClientInfo, ClientRef
from hisock._server.connection import Connection
from hisock._server.hub import Hub
from hisock._server.registry import ClientsView, Registry
from hisock._server.sessions import Session


class Membership(Generic[Session]):
    """The part of a server that knows its clients. Everything here is for any thread."""

    _hub: Hub
    _registry: Registry[Connection]

    @property
    def clients(self) -> ClientsView:
        """The connected clients by ``(ip, port)``: a live, read-only mapping."""
        return ClientsView(self._registry)

    def __len__(self) -> int:
        return len(self._registry)

    def __bool__(self) -> bool:
        return True

    def get_client(self, client: ClientRef) -> ClientInfo:
        """What is known of a client.

        :raises ClientNotFound: no such client is connected.
        """
        return self._registry.find(client).info

    @overload
    def get_all_clients(self, key: None = None) -> list[ClientInfo]: ...

    @overload
    def get_all_clients(self, key: Callable[[ClientInfo], Any]) -> list[ClientInfo]: ...

    @overload
    def get_all_clients(self, key: str) -> list[Any]: ...

    def get_all_clients(self, key: str | Callable[[ClientInfo], Any] | None = None) -> list[Any]:
        """All clients, in the order they joined.

        :param key: ``"ip"``, ``"name"`` or ``"group"`` for a list of those; a callable keeps the
            clients for which it returns true.
        :raises ValueError: there is no such key.
        """
        infos = [peer.info for peer in self._registry]
        if key is None:
            return infos
        if callable(key):
            return [info for info in infos if key(info)]
        if key not in ("ip", "name", "group"):
            raise ValueError(f"key is 'ip', 'name', 'group' or a callable, not {key!r}")
        return [info[key] for info in infos]

    def get_group(self, group: str) -> list[ClientInfo]:
        """The clients in a group.

        :raises GroupNotFound: nobody is in it.
        """
        return [peer.info for peer in self._registry.require_group(group)]

    def backlog(self, client: ClientRef) -> int:
        """Bytes that were sent to a client and that it has not taken yet.

        :raises ClientNotFound: no such client is connected.
        """
        return self._registry.find(client).writer.backlog()

    # -- rooms and sessions

    def join_room(self, client: ClientRef, room: str) -> None:
        """Put a client into a room. It may be in many, beside its group. From any thread.

        :param room: the room's name, at most 1024 characters; it exists while somebody is in it.
        :raises ClientNotFound: no such client is connected.
        :raises ValueError: the name is too long.
        """
        protocol.encode_name(room)
        self._hub.thread.run(lambda: self._registry.join_room(self._registry.find(client), room))

    def leave_room(self, client: ClientRef, room: str) -> None:
        """Take a client out of a room; a client that leaves the server leaves all its rooms.

        :raises ClientNotFound: no such client is connected.
        """
        self._hub.thread.run(lambda: self._registry.leave_room(self._registry.find(client), room))

    def rooms(self, client: ClientRef) -> set[str]:
        """The rooms that a client is in.

        :raises ClientNotFound: no such client is connected.
        """
        return set(self._peer_of(client).rooms or ())

    def get_room(self, room: str) -> list[ClientInfo]:
        """The clients in a room; empty when nobody is in it."""
        return [peer.info for peer in list(self._registry.room(room).values())]

    def _peer_of(self, client: ClientRef) -> Connection:
        """The connection of a client, also of one that is just leaving."""
        peer: Connection | None = client._peer if isinstance(client, ClientInfo) else None
        if peer is not None and peer.hub is self._hub:
            return peer
        return self._registry.find(client)

    def session(self, client: ClientRef) -> Session:
        """What the program keeps for a client while it is connected: a dict, or what the
        ``session`` option makes. It is still there in the handler of ``leave``.

        :raises ClientNotFound: no such client is connected.
        """
        return cast(Session, self._hub.sessions.of(self._peer_of(client)))

    # -- disconnecting

    def disconnect_client(
        self, client: ClientRef, force: bool = False, call_func: bool = False
    ) -> None:
        """Disconnect one client. From any thread.

        :param force: do not tell it with ``$DISCONN$`` first.
        :param call_func: fire the ``leave`` event for it.
        :raises ClientNotFound: no such client is connected.
        """
        self._hub.thread.run(
            lambda: self._hub.disconnect(self._registry.find(client), force, call_func)
        )

    def disconnect_all_clients(self, force: bool = False) -> None:
        """Disconnect all clients. From any thread.

        :param force: do not tell them with ``$DISCONN$`` first.
        """
        self._hub.thread.run(lambda: self._hub.disconnect_all(force))
