"""What clients that have gone still occupy of threads and tasks counts for their address."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from support import Events

from hisock._core.account import BOUNDS, Account, Total, Use
from hisock._runtime.concurrency import Concurrency
from hisock._runtime.threads import FAIR_SHARE, WAITING_WORK, Threads
from reliability.watching import MIB, eventually

TOTAL = Total(10**9)


@dataclass(eq=False)
class Guest:
    """A client, as far as its work is concerned.

    :ivar held_up: how many reasons there are not to read it.
    """

    address: str = "192.0.2.1"
    account: Account = field(default_factory=lambda: Account(TOTAL))
    held_up: int = 0

    def begin(self) -> None:
        self.held_up += 1

    def idle(self) -> None:
        self.held_up -= 1


class Pool:
    """Threads whose work waits at a gate."""

    def __init__(self) -> None:
        self.events = Events()
        self.gate = threading.Event()
        self.threads = Threads("test", lambda owner: self.events.add("go on", owner), TOTAL)

    def submit(self, owner: Guest, size: int = 1) -> bool:
        return self.threads.submit_for(owner, size, self._work, owner)

    def _work(self, owner: Guest) -> None:
        self.events.add("begun", owner)
        self.gate.wait(60)

    def begun(self, owner: Guest, count: int) -> None:
        self.events.wait_for("begun", owner, count=count)


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.gate.set()
    pool.threads.close(10)
    eventually(lambda: TOTAL.size == 0, "nothing is counted any longer")


def test_what_has_not_begun_is_done_when_its_client_has_gone(pool: Pool) -> None:
    guest = Guest()
    for _ in range(FAIR_SHARE + 100):
        assert not pool.submit(guest)
    pool.begun(guest, FAIR_SHARE)
    assert pool.threads.leave(guest) == 0
    assert (guest.account.size(), TOTAL.size) == (0, FAIR_SHARE + 100)
    pool.gate.set()
    pool.begun(guest, FAIR_SHARE + 100)


def test_what_is_over_the_bound_of_an_address_is_dropped(pool: Pool) -> None:
    dropped = 0
    for _ in range(3):
        guest = Guest()
        for _ in range(WAITING_WORK):
            pool.submit(guest)
        dropped += pool.threads.leave(guest)
    left = TOTAL.by_kind()
    assert left["queued"] == WAITING_WORK
    assert dropped + left["queued"] + left["running"] == 3 * WAITING_WORK


def test_who_comes_back_finds_what_is_left(pool: Pool) -> None:
    first, second, other = Guest(), Guest(), Guest("192.0.2.2")
    pool.submit(first, 3 * MIB)
    pool.begun(first, 1)
    pool.threads.leave(first)
    assert pool.submit(second), "it is to wait"
    assert not pool.submit(other)
    pool.begun(second, 1)  # one thread it gets, whatever is left behind
    pool.gate.set()
    pool.events.wait_for("go on", second)


def test_threads_of_those_who_have_gone_count_for_those_who_come(pool: Pool) -> None:
    first, second = Guest(), Guest()
    for _ in range(FAIR_SHARE):
        pool.submit(first)
    pool.begun(first, FAIR_SHARE)
    pool.threads.leave(first)
    for _ in range(10):
        pool.submit(second)
    pool.begun(second, 1)
    assert second.account.count(Use.RUNNING) == 1
    pool.gate.set()
    pool.begun(second, 10)


def test_what_is_queued_of_those_who_have_gone_can_be_freed(pool: Pool) -> None:
    guest, stays = Guest(), Guest("192.0.2.2")
    for owner in (guest, stays):
        for _ in range(FAIR_SHARE + 10):
            pool.submit(owner)
        pool.begun(owner, FAIR_SHARE)
    pool.threads.leave(guest)
    assert pool.threads.drop_left() == 10
    assert TOTAL.by_kind()["queued"] == 10


def test_tasks_of_a_client_are_bounded_and_resume_at_half() -> None:
    total = Total(10**9)
    concurrency, guest = Concurrency(total), Guest(account=Account(total))
    most = BOUNDS[Use.CONCURRENT].items
    lines = [concurrency.begin(guest, 1) for _ in range(most)]
    assert guest.held_up == 0
    lines.append(concurrency.begin(guest, 1))
    assert guest.held_up == 1
    while len(lines) > most // 2:
        assert guest.held_up == 1
        concurrency.end(guest, lines.pop(), 1)
    assert guest.held_up == 0
    for line in lines:
        concurrency.end(guest, line, 1)
    assert total.size == 0


def test_tasks_of_those_who_have_gone_hold_up_those_who_come() -> None:
    total = Total(10**9)
    concurrency = Concurrency(total)
    first, second = Guest(account=Account(total)), Guest(account=Account(total))
    most = BOUNDS[Use.CONCURRENT].items
    lines = [concurrency.begin(first, 1) for _ in range(most)]
    concurrency.leave(first)
    line = concurrency.begin(second, 1)
    assert second.held_up == 1
    for each in lines[: most // 2]:
        concurrency.end(first, each, 1)
    assert second.held_up == 0
    for each in lines[most // 2 :]:
        concurrency.end(first, each, 1)
    concurrency.end(second, line, 1)
    assert total.size == 0
