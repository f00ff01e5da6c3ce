"""The clients that have joined: by address, by name, by group and by room.

The registry is the one place that decides which clients a broadcast reaches. Every look-up is one
or two dict accesses, however many clients there are. A text that is an address is never looked up
as a name, so that no client can receive what is meant for an address by naming itself like it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from hisock._core.addresses import HIDDEN, client_addr, format_addr
from hisock._core.client_info import ClientInfo, ClientRef, NoReference
from hisock._server.namesakes import Namesakes
from hisock._server.rooms import RoomMember, Rooms
from hisock.exceptions import ClientNotFound, GroupNotFound
from hisock.framing import Outbox

#: Names no address, since the error of a handler is sent to the client that called.
_NOT_THERE = "no client with that address is connected"


def _levels_to_program() -> int:
    """The ``stacklevel`` for a warning that should point at the program's call."""
    frame, levels = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("hisock."):
        frame, levels = frame.f_back, levels + 1
    return levels


class Member(RoomMember, Protocol):
    """What the registry needs to know of a connection."""

    info: ClientInfo
    joined: int


P = TypeVar("P", bound=Member)


class Registry(Generic[P]):
    """The clients that have joined, by address, by name and by group, in order of joining.

    :ivar groups: the members of each group that has some, by outbox; not to be changed.
    """

    def __init__(self) -> None:
        self._by_ip: dict[str, P] = {}
        self._by_number: dict[int, P] = {}
        self._by_name: dict[str, Namesakes[P]] = {}
        # Keyed by outbox, since that is what fan_out() walks over.
        self.groups: dict[str, dict[Outbox, P]] = {}
        self.rooms: Rooms[P] = Rooms()
        self.everyone: dict[Outbox, P] = {}
        self._joins = 0

    def number_from(self, first: int) -> None:
        """Number clients from here on, so that no other server of a cluster has the same."""
        self._joins = first

    def __len__(self) -> int:
        return len(self.everyone)

    def __iter__(self) -> Iterator[P]:
        return iter(list(self.everyone.values()))

    def __contains__(self, peer: P) -> bool:
        return peer.outbox in self.everyone

    def add(self, peer: P) -> None:
        self._joins += 1
        peer.joined = self._joins
        self._by_ip[peer.info.ip] = peer
        self._by_number[peer.joined] = peer
        self.everyone[peer.outbox] = peer
        object.__setattr__(peer.info, "_outbox", peer.outbox)
        self._add_name(peer, peer.info.name)
        self._add_to_group(peer, peer.info.group)

    def remove(self, peer: P) -> None:
        self._remove_name(peer, peer.info.name)
        self._remove_from_group(peer, peer.info.group)
        self.rooms.leave_all(peer)
        del self.everyone[peer.outbox]
        del self._by_number[peer.joined]
        # At two of a server's addresses, two clients may come from one address of theirs.
        if self._by_ip.get(peer.info.ip) is peer:
            del self._by_ip[peer.info.ip]

    def change(self, peer: P, info: ClientInfo) -> ClientInfo:
        """Give a peer another name or group; returns what it was."""
        old, peer.info = peer.info, info
        object.__setattr__(info, "_outbox", peer.outbox)
        # Added before it is removed, so that look-ups of other threads always find it.
        if info.name != old.name:
            self._add_name(peer, info.name)
            self._remove_name(peer, old.name)
        if info.group != old.group:
            self._add_to_group(peer, info.group)
            self._remove_from_group(peer, old.group)
        return old

    def _add_name(self, peer: P, name: str | None) -> None:
        if name is None:
            return
        namesakes = self._by_name.get(name)
        if namesakes is None:
            self._by_name[name] = Namesakes(peer)
        else:
            namesakes.add(peer)

    def _remove_name(self, peer: P, name: str | None) -> None:
        if name is not None:
            namesakes = self._by_name[name]
            if len(namesakes) == 1:
                del self._by_name[name]
            else:
                namesakes.remove(peer)

    def _add_to_group(self, peer: P, group: str | None) -> None:
        if group is not None:
            self.groups.setdefault(group, {})[peer.outbox] = peer

    def _remove_from_group(self, peer: P, group: str | None) -> None:
        if group is not None:
            members = self.groups[group]
            del members[peer.outbox]
            if not members:
                del self.groups[group]

    def find(self, client: ClientRef | Any) -> P:
        """The connection of a client that the program names.

        :param client: a :class:`ClientInfo`, ``(ip, port)``, ``"ip:port"`` or a name. If several
            clients have that name, the one that joined first is returned, with a warning.
        :raises ClientNotFound: no such client is connected.
        :raises ValueError: the value cannot name a client.
        """
        if isinstance(client, str):
            return self._find_text(client)
        if isinstance(client, ClientInfo):
            if client._outbox in self.everyone:
                return self.everyone[client._outbox]
            peer = self._by_ip.get(client.ip)
        elif isinstance(client, dict) and "ip" in client:
            return self.find(client["ip"])
        elif isinstance(client, (tuple, list)) and len(client) >= 2:
            peer = self._find_addr(client)
        else:
            raise NoReference(client)
        if peer is None:
            raise ClientNotFound(_NOT_THERE)
        return peer

    def lookup(self, text: str) -> P | None:
        """The client with an address, or with a name if the text is no address.

        Of several clients with one name it is the one that joined first.
        """
        peer = self._by_ip.get(text)
        if peer is not None:
            return peer
        addr = client_addr(text)
        if addr is not None:
            return self._find_addr(addr)
        namesakes = self._by_name.get(text)
        return None if namesakes is None else namesakes.first

    def _find_addr(self, addr: Sequence[Any]) -> P | None:
        if addr[0] == HIDDEN:  # the addresses that clients see with hide_addresses
            return self._by_number.get(addr[1])
        return self._by_ip.get(format_addr(addr))

    def _find_text(self, text: str) -> P:
        peer = self.lookup(text)
        if peer is None:
            # An address is not repeated, since the error may be sent to another client.
            name = client_addr(text) is None
            raise ClientNotFound(
                f"no client with the name {text!r} is connected" if name else _NOT_THERE
            )
        namesakes = self._by_name.get(text)
        if namesakes is not None and len(namesakes) > 1 and peer.info.name == text:
            # A constant text, since Python remembers every distinct warning.
            warnings.warn(
                "several clients have the name that was given; the one that joined first is taken",
                UserWarning,
                stacklevel=_levels_to_program(),
            )
        return peer

    def numbered(self, number: int) -> P | None:
        """The client with a place in the order of joining."""
        return self._by_number.get(number)

    def has_name(self, name: str | None) -> bool:
        """Whether a client goes by that name."""
        return name is not None and name in self._by_name

    def group(self, name: str) -> dict[Outbox, P]:
        """The members of a group; empty if it has none. The caller must not change the dict."""
        return self.groups.get(name, {})

    def require_group(self, name: str) -> list[P]:
        """The members of a group.

        :raises GroupNotFound: no client is in it.
        """
        members = list(self.group(name).values())
        if not members:
            raise GroupNotFound(f"no connected client is in the group {name!r}")
        return members
