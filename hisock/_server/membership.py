"""The clients of a server: look-ups, rooms and sessions, disconnecting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, cast, overload

from hisock._core import protocol
from hisock._core.client_info import ClientInfo, ClientRef
from hisock._server.directory import ClientsView, Directory
from hisock._server.hub import Hub
from hisock._server.sessions import Session


class Membership(Generic[Session]):
    """The part of a server that knows its clients. Everything here may be called from any thread.

    A client is named by its :class:`ClientInfo`, ``(ip, port)``, ``"ip:port"`` or name.
    """

    _hub: Hub
    _directory: Directory

    @property
    def clients(self) -> ClientsView:
        """The connected clients by ``(ip, port)``: a live, read-only mapping."""
        return ClientsView(self._directory)

    def __len__(self) -> int:
        return len(self._directory)

    def __bool__(self) -> bool:
        return True

    def get_client(self, client: ClientRef) -> ClientInfo:
        """The address, name and group of a client.

        :raises ClientNotFound: no such client is connected.
        """
        return self._directory.info(client)

    @overload
    def get_all_clients(self, key: None = None) -> list[ClientInfo]: ...

    @overload
    def get_all_clients(self, key: Callable[[ClientInfo], Any]) -> list[ClientInfo]: ...

    @overload
    def get_all_clients(self, key: str) -> list[Any]: ...

    def get_all_clients(self, key: str | Callable[[ClientInfo], Any] | None = None) -> list[Any]:
        """All clients, in the order in which they joined.

        :param key: ``None`` (the default) for a list of :class:`ClientInfo`; ``"ip"``, ``"name"``
            or ``"group"`` for a list of those fields; a callable keeps the clients for which it
            returns true.
        :raises ValueError: there is no such key.
        """
        infos = self._directory.infos()
        if key is None:
            return infos
        if callable(key):
            return [info for info in infos if key(info)]
        if key not in ("ip", "name", "group"):
            raise ValueError(f"key is 'ip', 'name', 'group' or a callable, not {key!r}")
        return [info[key] for info in infos]

    def get_group(self, group: str) -> list[ClientInfo]:
        """The clients in a group.

        :raises GroupNotFound: no client is in it.
        """
        return self._directory.group(group)

    def backlog(self, client: ClientRef) -> int:
        """Bytes that wait in this process to be written to a client, an ``int``.

        What the kernel has taken is not counted.

        :raises ClientNotFound: no such client is connected.
        """
        return self._directory.here(client, "backlog()").writer.backlog()

    # -- rooms and sessions

    def join_room(self, client: ClientRef, room: str) -> None:
        """Put a client into a room. It may be in many, besides its group.

        :param room: the room's name, at most 1024 characters. A room exists while it has members.
        :raises ClientNotFound: no such client is connected.
        :raises ValueError: the name is too long, or the client's rooms take 4 MiB, which is enough
            for 32,000 that others have made, or 8,000 of its own with short names; or they would
            take 16 MiB if all others left them.
        """
        protocol.encode_name(room)
        self._directory.move(client, room, True)

    def leave_room(self, client: ClientRef, room: str) -> None:
        """Take a client out of a room. A client that disconnects leaves all its rooms.

        :raises ClientNotFound: no such client is connected.
        """
        self._directory.move(client, room, False)

    def rooms(self, client: ClientRef) -> set[str]:
        """The names of the rooms that a client is in.

        :raises ClientNotFound: no such client is connected.
        """
        return self._directory.rooms(client)

    def get_room(self, room: str) -> list[ClientInfo]:
        """The clients in a room; an empty list if there are none."""
        return self._directory.room(room)

    def session(self, client: ClientRef) -> Session:
        """What the program keeps for a client while it is connected: a dict, or what the
        ``session`` option makes. Handlers of ``leave`` can still read it.

        :raises ClientNotFound: no such client is connected.
        """
        return cast(Session, self._hub.sessions.of(self._directory.here(client, "session()")))

    # -- disconnecting

    def disconnect_client(
        self, client: ClientRef, force: bool = False, call_func: bool = False
    ) -> None:
        """Disconnect one client.

        :param force: do not send ``$DISCONN$`` first. Default ``False``.
        :param call_func: fire the ``leave`` event for it. Default ``False``.
        :raises ClientNotFound: no such client is connected.
        """
        self._directory.disconnect(client, force, call_func)

    def disconnect_all_clients(self, force: bool = False) -> None:
        """Disconnect all clients; the ``leave`` event does not fire.

        :param force: do not send ``$DISCONN$`` first. Default ``False``.
        """
        self._hub.thread.run(lambda: self._hub.disconnect_all(force))
