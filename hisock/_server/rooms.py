"""The rooms of a server: their members, and what each client is charged for them."""

from __future__ import annotations

from sys import getsizeof
from typing import Final, Generic, Protocol, TypeVar

from hisock._core.account import MOST_LEFT_BY_OTHERS, MOST_OF_ROOMS, Account, Use
from hisock.framing import Outbox

#: Bytes that a membership takes: a place in the room, and one among the client's rooms.
MEMBER_COST: Final = 128
#: Bytes that a room takes, besides its name.
ROOM_COST: Final = 320
#: Bytes of each client that are not counted, as little as the connection itself: sixteen rooms that
#: others have made. A server with many clients may put all of them into some.
UNCOUNTED: Final = 2048


class OwnRooms(set[str]):
    """The rooms of a client.

    :ivar cost: bytes that it is charged for them.
    :ivar most: bytes that it would be charged if it were the only one in each of them.
    """

    __slots__ = ("cost", "most")

    def __init__(self) -> None:
        self.cost = 0
        self.most = 0


class RoomMember(Protocol):
    """What rooms need to know of a connection."""

    outbox: Outbox
    rooms: OwnRooms | None

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
    """The rooms that have members.

    :ivar by_name: these rooms; not to be changed.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, _Room[P]] = {}

    def __len__(self) -> int:
        return len(self.by_name)

    def members(self, name: str) -> dict[Outbox, P]:
        """The members of a room; empty if it has none. The caller must not change the dict."""
        room = self.by_name.get(name)
        return {} if room is None else room.members

    def join(self, peer: P, name: str) -> None:
        """Put a client into a room; does nothing if it is in it.

        :raises ValueError: what it is charged for its rooms would be over the bound.
        """
        own = peer.rooms
        if own is None:
            own = peer.rooms = OwnRooms()
        if name in own:
            return
        room = self.by_name.get(name)
        is_new = room is None
        if room is None:
            room = _Room(name, peer)
        most = MEMBER_COST + room.cost
        cost = most if is_new else MEMBER_COST
        if own.cost + cost > MOST_OF_ROOMS or own.most + most > MOST_LEFT_BY_OTHERS:
            raise ValueError(
                f"the client is in {len(own)} rooms, and those of one client take "
                f"{MOST_OF_ROOMS} bytes at most, or {MOST_LEFT_BY_OTHERS} if all others left them; "
                "have it leave some"
            )
        _charge(peer, own, cost)
        own.most += most
        own.add(room.name)
        room.members[peer.outbox] = peer
        if is_new:
            self.by_name[name] = room

    def leave(self, peer: P, name: str) -> None:
        """Take a client out of a room; does nothing if it is not a member."""
        own = peer.rooms
        if own is not None and name in own:
            own.remove(name)
            self._take_out(peer, own, name)

    def leave_all(self, peer: P) -> None:
        """Take a client that has ended out of all rooms.

        The set itself stays: handlers of `leave` ask which rooms the client was in.
        """
        own = peer.rooms
        if own is not None:
            for name in own:
                self._take_out(peer, own, name)

    def _take_out(self, peer: P, own: OwnRooms, name: str) -> None:
        room = self.by_name[name]
        del room.members[peer.outbox]
        cost = MEMBER_COST
        if room.payer is peer:
            cost += room.cost
            if room.members:
                # From the end, since most leave in the order in which they came, and a dict passes
                # over the places of all that have left.
                heir = room.payer = next(reversed(room.members.values()))
                assert heir.rooms is not None, "it is in this one"
                _charge(heir, heir.rooms, room.cost)
            else:
                del self.by_name[name]
        own.most -= MEMBER_COST + room.cost
        _charge(peer, own, -cost)


def _charge(peer: RoomMember, own: OwnRooms, cost: int) -> None:
    """Charge a client for more, or less."""
    before = max(0, own.cost - UNCOUNTED)
    own.cost += cost
    counted = max(0, own.cost - UNCOUNTED)
    if counted != before:
        peer.account.set(Use.ROOMS, counted)
