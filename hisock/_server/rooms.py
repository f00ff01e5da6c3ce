"""The rooms of a server: their members, and what each client is charged for them."""

from __future__ import annotations

from sys import getsizeof
from typing import Final, Generic, Protocol, TypeVar

from hisock._core.account import MOST_OF_ROOMS, Account, Use
from hisock.framing import Outbox

#: Bytes that a membership takes: a place in the room, and one among the client's rooms.
MEMBER_COST: Final = 128
#: Bytes that a room takes, besides its name.
ROOM_COST: Final = 320


class RoomMember(Protocol):
    """What rooms need to know of a connection."""

    outbox: Outbox
    rooms: set[str] | None

    @property
    def account(self) -> Account:
        """Where its rooms are counted."""


P = TypeVar("P", bound=RoomMember)


class _Room(Generic[P]):
    """A room with members.

    :ivar name: the one string that all of them share.
    :ivar members: in order of entering, keyed by outbox, since that is what fan_out() walks over.
    :ivar payer: the member that is charged for the room and its name.
    :ivar cost: bytes that it is charged.
    """

    __slots__ = ("cost", "members", "name", "payer")

    def __init__(self, name: str, payer: P) -> None:
        self.name = name
        self.members: dict[Outbox, P] = {}
        self.payer = payer
        self.cost = ROOM_COST + getsizeof(name)


class Rooms(Generic[P]):
    """The rooms that have members, by name."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room[P]] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def members(self, name: str) -> dict[Outbox, P]:
        """The members of a room; empty if it has none. The caller must not change the dict."""
        room = self._rooms.get(name)
        return {} if room is None else room.members

    def join(self, peer: P, name: str) -> None:
        """Put a client into a room; does nothing if it is in it.

        :raises ValueError: what it is charged for its rooms would be over the bound.
        """
        if peer.rooms is None:
            peer.rooms = set()
        if name in peer.rooms:
            return
        room = self._rooms.get(name)
        is_new = room is None
        if room is None:
            room = _Room(name, peer)
        cost = MEMBER_COST + room.cost * is_new
        if peer.account.size(Use.ROOMS) + cost > MOST_OF_ROOMS:
            raise ValueError(
                f"the client is in {len(peer.rooms)} rooms, and those of one client take "
                f"{MOST_OF_ROOMS} bytes at most; have it leave some"
            )
        peer.account.take(Use.ROOMS, MEMBER_COST)
        peer.rooms.add(room.name)
        room.members[peer.outbox] = peer
        if is_new:
            peer.account.take(Use.ROOMS, room.cost)
            self._rooms[name] = room

    def leave(self, peer: P, name: str) -> None:
        """Take a client out of a room; does nothing if it is not a member."""
        if peer.rooms is not None and name in peer.rooms:
            peer.rooms.remove(name)
            self._take_out(peer, name)

    def leave_all(self, peer: P) -> None:
        """Take a client that has ended out of all rooms.

        The set itself stays: handlers of `leave` ask which rooms the client was in.
        """
        for name in peer.rooms or ():
            self._take_out(peer, name)

    def _take_out(self, peer: P, name: str) -> None:
        room = self._rooms[name]
        del room.members[peer.outbox]
        peer.account.free(Use.ROOMS, MEMBER_COST)
        if room.payer is peer:
            peer.account.free(Use.ROOMS, room.cost)
            if room.members:
                # From the end, since most leave in the order in which they came, and a dict passes
                # over the places of all that have left.
                room.payer = next(reversed(room.members.values()))
                room.payer.account.take(Use.ROOMS, room.cost)
            else:
                del self._rooms[name]
