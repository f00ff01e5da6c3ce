"""What connections occupy is counted once, wherever it goes, and bounded by kind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hisock._core.account import BOUNDS, DEFERRED, FRAME_COST, Account, Total, Use, frame_size

MIB = 1024 * 1024
kinds = st.sampled_from(list(Use))
sizes = st.integers(0, 10_000)


@pytest.mark.parametrize("kind", list(BOUNDS))
def test_a_connection_may_have_so_much_of_a_kind(kind: Use) -> None:
    bound = BOUNDS[kind]
    many, large = Account(Total(10**9)), Account(Total(10**9))
    for _ in range(bound.items):
        assert many.take(kind, 0)
    assert not many.take(kind, 0)
    assert large.take(kind, bound.size)
    assert not large.take(kind, 1)
    assert (many.full(kind), large.full(kind)) == (True, True)


def test_room_for_more_comes_at_half() -> None:
    account = Account(Total(10**9))
    for _ in range(DEFERRED.items):
        account.take(Use.DEFERRED, 1)
    for _ in range(DEFERRED.items // 2 - 1):
        account.free(Use.DEFERRED, 1)
    assert not account.full(Use.DEFERRED)
    assert not account.roomy(Use.DEFERRED)
    account.free(Use.DEFERRED, 1)
    assert account.roomy(Use.DEFERRED)


def test_a_partial_frame_is_one_however_it_grows() -> None:
    total = Total(100)
    account = Account(total)
    for size in (10, 90, 40):
        account.set(Use.PARTIAL, size)
        assert (account.size(), account.count(Use.PARTIAL), total.size) == (size, 1, size)
    account.set(Use.PARTIAL, 0)
    assert (account.size(), account.count(Use.PARTIAL), total.size) == (0, 0, 0)
    assert not account.full(Use.PARTIAL)
    assert account.roomy(Use.PARTIAL)


def test_the_total_says_when_it_is_too_much() -> None:
    total = Total(100)
    one, other = Account(total), Account(total)
    one.take(Use.DEFERRED, 60)
    other.take(Use.QUEUED, 40)
    assert not total.over
    other.take(Use.QUEUED, 1)
    assert total.over
    one.clear((Use.DEFERRED,))
    assert not total.over
    assert total.by_kind() == {kind.name.lower(): 41 * (kind is Use.QUEUED) for kind in Use}


@pytest.mark.parametrize(("first", "width"), [("x", 1), ("\N{SNOWMAN}", 2), ("\U0001f600", 4)])
def test_a_command_counts_with_all_that_its_text_occupies(first: str, width: int) -> None:
    command = first + "x" * MIB
    assert frame_size(command, b"12345") >= width * MIB + 5 + FRAME_COST
    assert frame_size(None, b"12345") == 5 + FRAME_COST
    assert frame_size(command, b"12345") - frame_size(command, None) == 5


class Accounts(RuleBasedStateMachine):
    """Clients come, take, free and go; those that have gone leave behind what is not done."""

    def __init__(self) -> None:
        super().__init__()
        self.total = Total(20_000)
        self.gone = Account(self.total)
        self.accounts: list[Account] = []
        self.held: list[tuple[Account, Use, int]] = []

    @rule()
    def come(self) -> None:
        self.accounts.append(Account(self.total))

    @precondition(lambda self: self.accounts)
    @rule(data=st.data(), kind=kinds.filter(lambda kind: kind is not Use.PARTIAL), size=sizes)
    def take(self, data: st.DataObject, kind: Use, size: int) -> None:
        account = data.draw(st.sampled_from(self.accounts))
        account.take(kind, size)
        self.held.append((account, kind, size))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        account, kind, size = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        account.free(kind, size)

    @precondition(lambda self: any(kind is Use.QUEUED for _, kind, _ in self.held))
    @rule()
    def begin(self) -> None:
        at = next(at for at, each in enumerate(self.held) if each[1] is Use.QUEUED)
        account, kind, size = self.held[at]
        account.move(size, kind, Use.RUNNING)
        self.held[at] = account, Use.RUNNING, size

    @precondition(lambda self: self.accounts)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        left = (Use.QUEUED, Use.RUNNING)
        account = self.accounts.pop(data.draw(st.integers(0, len(self.accounts) - 1)))
        account.hand_over(left, self.gone)
        account.clear([kind for kind in Use if kind not in left])
        held = [(each, kind, size) for each, kind, size in self.held if each is account]
        self.held = [each for each in self.held if each[0] is not account]
        self.held += [(self.gone, kind, size) for _, kind, size in held if kind in left]
        assert account.size() == 0

    @invariant()
    def all_is_counted_once(self) -> None:
        assert self.total.size == sum(size for _, _, size in self.held)
        assert self.total.over == (self.total.size > self.total.limit)
        by_kind = self.total.by_kind()
        for kind in Use:
            assert by_kind[kind.name.lower()] == sum(s for _, k, s in self.held if k is kind)
        for account in (*self.accounts, self.gone):
            mine = [(kind, size) for each, kind, size in self.held if each is account]
            assert account.size() == sum(size for _, size in mine)
            for kind in Use:
                assert account.count(kind) == sum(k is kind for k, _ in mine)


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.lists(st.tuples(kinds, sizes)))
@settings(max_examples=50)
def test_what_is_cleared_is_gone_from_the_total(taken: list[tuple[Use, int]]) -> None:
    total = Total(0)
    account = Account(total)
    for kind, size in taken:
        account.take(kind, size)
    account.clear(list(Use))
    assert (total.size, account.size()) == (0, 0)
