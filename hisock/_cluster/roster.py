"""The clients of the other nodes, as a replica: look-ups answer at once, from any thread.

Each row has one writer, the node that has the client, so there is nothing to merge. The replica is
changed on the loop's thread only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from socket import AF_INET, inet_ntop, inet_pton
from sys import intern
from typing import Any, ClassVar

import msgspec

from hisock._cluster.records import Changed, Moved, Row
from hisock._core.addresses import Addr, format_addr, parse_addr
from hisock._core.client_info import ClientInfo

_NO_ROOMS: frozenset[str] = frozenset()
_MOST_PORT = 65535
_RESUME_BYTES = 16
#: Pairs of a node and what a client knows that are kept once for all clients.
_MOST_HOMES = 256
#: Rooms of a client up to which it is tried whether others are in the same ones.
_MOST_SHARED = 8


#: An address: a number for IPv4, which takes half as much memory as the text of all others.
Where = int | str


def where_is(host: str, port: int) -> Where:
    """An address as the roster keeps it."""
    if 0 <= port <= _MOST_PORT:
        with contextlib.suppress(OSError):
            return int.from_bytes(inet_pton(AF_INET, host), "big") << 16 | port
    return format_addr((host, port))


class Home(msgspec.Struct, gc=False, frozen=True, weakref=False):
    """What many clients have in common: their node, and what they know."""

    node: str
    flags: int


_home = lru_cache(_MOST_HOMES)(Home)


class Remote(msgspec.Struct, gc=False, eq=False, weakref=False):
    """A client of another node. Its :class:`ClientInfo` is made when it is asked for.

    There may be many, so they are small, and the garbage collector knows nothing of them: what
    they refer to does not refer to them.

    :ivar where: its address.
    :ivar number: its number on its node.
    :cvar resume: the hash of its secret as a number, 0 if it has none.
    """

    home: Home
    number: int
    where: Where
    name: str | None
    group: str | None
    rooms: frozenset[str]
    resume: ClassVar[int] = 0

    @classmethod
    def of(cls, node: str, row: Row) -> Remote:
        """The client of a row."""
        of_all = (
            _home(node, row.flags),
            row.number,
            where_is(row.ip, row.port),
            row.name,
            None if row.group is None else intern(row.group),
            frozenset(map(intern, row.rooms)) if row.rooms else _NO_ROOMS,
        )
        if row.resume:
            return _RemoteWithSecret(*of_all, int.from_bytes(row.resume, "big"))
        return cls(*of_all)

    @property
    def node(self) -> str:
        """The id of its node."""
        return self.home.node

    @property
    def flags(self) -> int:
        """What it knows; see :class:`hisock._cluster.records.Row`."""
        return self.home.flags

    @property
    def ip(self) -> str:
        """Its address, as ``"ip:port"``."""
        if isinstance(self.where, str):
            return self.where
        return format_addr(self.addr)

    @property
    def addr(self) -> Addr:
        """Its address, as ``(ip, port)``."""
        if isinstance(self.where, int):
            host = inet_ntop(AF_INET, (self.where >> 16).to_bytes(4, "big"))
            return host, self.where & _MOST_PORT
        text, _, port = self.where.rpartition(":")
        return text.removeprefix("[").removesuffix("]"), int(port)

    @property
    def info(self) -> RemoteInfo:
        """What handlers see of it."""
        return RemoteInfo(self)

    def row(self) -> Row:
        """The row that it was made of."""
        ip, port = self.addr
        rooms = sorted(self.rooms)
        resume = self.resume.to_bytes(_RESUME_BYTES, "big") if self.resume else b""
        return Row(self.number, ip, port, self.name, self.group, self.flags, resume, rooms)


class _RemoteWithSecret(Remote, gc=False, eq=False, weakref=False):
    """One that can come back after it has lost its connection."""

    resume: int  # type: ignore[misc] # others have no place for it


class RemoteInfo(ClientInfo):
    """A client of another node as handlers see it.

    It remembers its node, since two clients behind two routers may have one address.
    """

    __slots__ = ("_node", "number")

    _node: str
    number: int

    def __init__(self, client: Remote) -> None:
        super().__init__(client.addr, client.name, client.group)
        object.__setattr__(self, "_node", client.node)
        object.__setattr__(self, "number", client.number)

    @property
    def node(self) -> str:
        """The node that it is connected to."""
        return self._node


class Sections:
    """Clients by a name that many may have: a group, a room, a name.

    A name that one client has costs one entry of a dict, as most names are of that kind.
    """

    def __init__(self) -> None:
        self._all: dict[str, Remote | dict[Remote, None]] = {}

    def add(self, name: str, client: Remote) -> None:
        there = self._all.get(name)
        if there is None:
            self._all[name] = client
        elif isinstance(there, dict):
            there[client] = None
        elif there is not client:
            self._all[name] = {there: None, client: None}

    def discard(self, name: str, client: Remote) -> None:
        there = self._all.get(name)
        if there is client:
            del self._all[name]
        elif isinstance(there, dict):
            there.pop(client, None)
            if not there:
                del self._all[name]

    def of(self, name: str) -> list[Remote]:
        """Those with a name, in the order of adding."""
        there = self._all.get(name)
        if there is None:
            return []
        return list(there) if isinstance(there, dict) else [there]


class Reached:
    """The nodes that have clients under one name.

    :ivar target: the name as entries for many have it.
    :ivar counts: how many clients each node has, not to be changed.
    :ivar names: the nodes; another tuple when they change.
    :ivar rooms: all rooms of a client that was here lately, if the name is a room's.
    :ivar total: how many clients they have together.
    """

    __slots__ = ("counts", "names", "rooms", "target", "total")

    def __init__(self, target: str) -> None:
        self.target = target
        self.counts: dict[str, int] = {}
        self.names: tuple[str, ...] = ()
        self.rooms = _NO_ROOMS
        self.total = 0


class Reach:
    """How many clients each node has under a name: where a message for it has to go.

    :param letter: what targets of this kind begin with.
    :ivar all: the nodes by name, where there are any; not to be changed.
    """

    def __init__(self, letter: str) -> None:
        self._letter = letter
        self.all: dict[str, Reached] = {}

    def add(self, name: str, node: str) -> None:
        nodes = self.all.get(name)
        if nodes is None:
            nodes = self.all[name] = Reached(self._letter + name)
        counts = nodes.counts
        counts[node] = counts.get(node, 0) + 1
        nodes.total += 1
        if len(counts) != len(nodes.names):
            nodes.names = tuple(counts)

    def discard(self, name: str, node: str) -> None:
        nodes = self.all[name]
        nodes.counts[node] -= 1
        nodes.total -= 1
        if not nodes.counts[node]:
            del nodes.counts[node]
            nodes.names = tuple(nodes.counts)
            if not nodes.names:
                del self.all[name]


class ClusterRoster:
    """All clients of the other nodes.

    :ivar nodes: for each node its clients, by number.
    :ivar reach: how many clients each node has, under an empty name.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, dict[int, Remote]] = {}
        self.reach = Reach("*")
        self.groups = Sections()
        self.rooms = Sections()
        self.group_reach = Reach("g")
        self.room_reach = Reach("r")
        self._names = Sections()
        self._addresses: dict[Where, Remote] = {}
        self._resumes: dict[int, Remote] = {}
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Remote]:
        for clients in list(self.nodes.values()):
            yield from list(clients.values())

    def get(self, node: str, number: int) -> Remote | None:
        return self.nodes.get(node, {}).get(number)

    # -- changing

    def add(self, node: str, row: Row) -> Remote:
        """A client has joined a node, or is known there from another time."""
        clients = self.nodes.setdefault(node, {})
        before = clients.get(row.number)
        if before is not None:
            self.remove(before)
            clients = self.nodes.setdefault(node, {})
        client = Remote.of(node, row)
        clients[client.number] = client
        self.count += 1
        self.reach.add("", node)
        self._addresses.setdefault(client.where, client)
        if client.resume:
            self._resumes[client.resume] = client
        self._add_name(client)
        self._add_group(client)
        for room in client.rooms:
            self.rooms.add(room, client)
            self.room_reach.add(room, node)
        self._share_rooms(client)
        return client

    def remove(self, client: Remote) -> None:
        """A client has left; does nothing if it is not known any more."""
        clients = self.nodes.get(client.node, {})
        if clients.get(client.number) is not client:
            return
        del clients[client.number]
        self.count -= 1
        self.reach.discard("", client.node)
        if self._addresses.get(client.where) is client:
            del self._addresses[client.where]
        if client.resume and self._resumes.get(client.resume) is client:
            del self._resumes[client.resume]
        if client.name is not None:
            self._names.discard(client.name, client)
        self._leave_group(client)
        for room in client.rooms:
            self._leave_room(client, room)

    def change(self, client: Remote, changed: Changed) -> None:
        """A client has another name or group."""
        if changed.name != client.name:
            if client.name is not None:
                self._names.discard(client.name, client)
            client.name = changed.name
            self._add_name(client)
        if changed.group != client.group:
            self._leave_group(client)
            client.group = None if changed.group is None else intern(changed.group)
            self._add_group(client)

    def move(self, client: Remote, moved: Moved) -> None:
        """A client is in a room, or not any more."""
        if moved.inside and moved.room not in client.rooms:
            client.rooms |= {intern(moved.room)}
            self.rooms.add(moved.room, client)
            self.room_reach.add(moved.room, client.node)
            self._share_rooms(client)
        elif not moved.inside and moved.room in client.rooms:
            client.rooms = client.rooms - {moved.room} or _NO_ROOMS
            self._leave_room(client, moved.room)
            self._share_rooms(client)

    def forget(self, node: str) -> None:
        """A node without clients is gone."""
        if not self.nodes.get(node, True):
            del self.nodes[node]

    def _add_name(self, client: Remote) -> None:
        if client.name is not None:
            self._names.add(client.name, client)

    def _add_group(self, client: Remote) -> None:
        if client.group is not None:
            self.groups.add(client.group, client)
            self.group_reach.add(client.group, client.node)

    def _leave_group(self, client: Remote) -> None:
        if client.group is not None:
            self.groups.discard(client.group, client)
            self.group_reach.discard(client.group, client.node)

    def _share_rooms(self, client: Remote) -> None:
        """Give a client the same set as others in the same rooms, since a set takes 216 bytes."""
        if len(client.rooms) > _MOST_SHARED:
            return
        there = [nodes for nodes in map(self.room_reach.all.get, client.rooms) if nodes is not None]
        for nodes in there:
            if nodes.rooms == client.rooms:
                client.rooms = nodes.rooms
                break
        for nodes in there:
            nodes.rooms = client.rooms

    def _leave_room(self, client: Remote, room: str) -> None:
        self.rooms.discard(room, client)
        self.room_reach.discard(room, client.node)

    # -- looking up

    def at(self, addr: Sequence[Any]) -> Remote | None:
        """The client with an address, ``(ip, port)``; the port may be a text."""
        text = format_addr(addr)
        with contextlib.suppress(ValueError):
            return self._addresses.get(where_is(*parse_addr(text)))
        return self._addresses.get(text)

    def named(self, name: str) -> list[Remote]:
        """The clients with a name."""
        return self._names.of(name)

    def resuming(self, resume: bytes) -> Remote | None:
        """The client with the hash of a secret."""
        return self._resumes.get(int.from_bytes(resume, "big"))

    def numbered(self, number: int) -> Remote | None:
        """The client with a number, which is unique in the cluster."""
        found = (clients.get(number) for clients in list(self.nodes.values()))
        return next((client for client in found if client is not None), None)


def where(clients: Iterable[Remote]) -> dict[str, list[int]]:
    """The numbers of some clients, by node."""
    nodes: dict[str, list[int]] = {}
    for client in clients:
        nodes.setdefault(client.node, []).append(client.number)
    return nodes
