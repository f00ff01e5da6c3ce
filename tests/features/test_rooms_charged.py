"""What clients are charged for their rooms, in any order of entering and leaving."""

from __future__ import annotations

import contextlib
import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hisock._core.account import MOST_LEFT_BY_OTHERS, MOST_OF_ROOMS, Account, Total, Use
from hisock._server.rooms import MEMBER_COST, ROOM_COST, UNCOUNTED, OwnRooms, Rooms
from hisock.framing import Outbox


class Client:
    """A member of rooms that is nothing else."""

    def __init__(self, total: Total) -> None:
        self.account = Account(total)
        self.outbox = Outbox([], self, lambda: None)
        self.rooms: OwnRooms | None = None

    @property
    def charged(self) -> int:
        return 0 if self.rooms is None else self.rooms.cost


NAMES = ["a", "hall", "\N{SNOWMAN}" * 1000]
places = st.tuples(st.integers(0, 4), st.sampled_from(NAMES))


class Entering(RuleBasedStateMachine):
    """Five clients and three rooms."""

    def __init__(self) -> None:
        super().__init__()
        self.total = Total(10**9)
        self.clients = [Client(self.total) for _ in range(5)]
        self.rooms: Rooms[Client] = Rooms()
        self.inside: set[tuple[int, str]] = set()

    @rule(place=places)
    def enter(self, place: tuple[int, str]) -> None:
        self.rooms.join(self.clients[place[0]], "".join(place[1]))
        self.inside.add(place)

    @rule(place=places)
    def leave(self, place: tuple[int, str]) -> None:
        self.rooms.leave(self.clients[place[0]], place[1])
        self.inside.discard(place)

    @rule(number=st.integers(0, 4))
    def end(self, number: int) -> None:
        before = set(self.clients[number].rooms or ())
        self.rooms.leave_all(self.clients[number])
        assert set(self.clients[number].rooms or ()) == before, "handlers of `leave` ask for them"
        self.clients[number].rooms = None
        self.inside = {place for place in self.inside if place[0] != number}

    @invariant()
    def each_room_is_charged_to_one_of_its_members(self) -> None:
        names = {name for _, name in self.inside}
        rooms = sum(ROOM_COST + sys.getsizeof(name) for name in names)
        assert sum(c.charged for c in self.clients) == rooms + MEMBER_COST * len(self.inside)
        counted = [max(0, client.charged - UNCOUNTED) for client in self.clients]
        assert [client.account.size(Use.ROOMS) for client in self.clients] == counted
        assert self.total.size == sum(counted)
        assert len(self.rooms) == len(names)
        for number, client in enumerate(self.clients):
            own = {name for at, name in self.inside if at == number}
            assert (client.rooms or set()) == own
            each = MEMBER_COST * len(own)
            assert each <= client.charged
            most = each + sum(ROOM_COST + sys.getsizeof(n) for n in own)
            assert client.charged <= most
            assert client.rooms is None or client.rooms.most == most
            for name in own:
                assert self.rooms.members(name)[client.outbox] is client


TestEntering = Entering.TestCase
TestEntering.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)


def test_members_share_the_name_of_their_room() -> None:
    rooms: Rooms[Client] = Rooms()
    clients = [Client(Total(10**9)) for _ in range(3)]
    for client in clients:
        rooms.join(client, "".join(["h", "all"]))
    first, *others = [next(iter(client.rooms or ())) for client in clients]
    assert all(other is first for other in others)


def test_rooms_that_all_others_have_left_take_so_much() -> None:
    rooms: Rooms[Client] = Rooms()
    client = Client(Total(10**9))
    makers = [Client(Total(10**9)) for _ in range(10)]
    entered, name = 0, "{}" + "\N{SNOWMAN}" * 1000
    with contextlib.suppress(ValueError):
        for entered in range(10_000):
            rooms.join(makers[entered // 1000], name.format(entered))
            rooms.join(client, name.format(entered))
    with pytest.raises(ValueError, match="if all others left them"):
        rooms.join(client, name.format(entered))
    assert client.charged < MOST_OF_ROOMS
    for maker in makers:
        rooms.leave_all(maker)
    assert entered == len(rooms) == len(client.rooms or ())
    assert MOST_LEFT_BY_OTHERS * 0.99 < client.charged <= MOST_LEFT_BY_OTHERS


@pytest.mark.parametrize(("name", "most"), [("{}", 9_000), ("{}" + "\N{SNOWMAN}" * 1000, 1_800)])
def test_the_rooms_of_one_client_take_so_much(name: str, most: int) -> None:
    rooms: Rooms[Client] = Rooms()
    client, other = Client(Total(10**9)), Client(Total(10**9))
    entered = 0
    with contextlib.suppress(ValueError):
        for entered in range(most):
            rooms.join(client, name.format(entered))
    assert most * 3 // 4 < entered < most - 1
    with pytest.raises(ValueError, match="have it leave some"):
        rooms.join(client, name.format(entered))
    assert len(client.rooms or ()) == entered
    assert len(rooms) == entered, "one that could not be entered is not there"
    assert MOST_OF_ROOMS * 0.99 < client.charged <= MOST_OF_ROOMS
    rooms.join(client, name.format(0))  # it is there already
    rooms.join(other, name.format(0))
    rooms.leave(client, name.format(0))
    assert other.charged > MEMBER_COST, "who stays is charged for the room"
    rooms.join(client, name.format(most))
