"""What clients that have gone still occupy of threads and tasks counts for their address."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from support import Events
from support.polling import eventually

from hisock._core.account import BOUNDS, Account, Total, Use
from hisock._runtime.concurrency import Concurrency, Pending
from hisock._runtime.threads import FAIR_SHARE, WAITING_WORK, Threads
from reliability.watching import MIB

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


class Tasks:
    """Tasks that end when they are told to.

    :ivar started: the clients whose tasks began, in order.
    """

    def __init__(self, total: Total) -> None:
        self.total = total
        self.concurrency = Concurrency(total)
        self.started: list[Guest] = []
        self._ends: list[Callable[[], None]] = []

    def start(self, guest: Guest, size: int) -> Callable[[], None] | None:
        """Start one, or have it wait; returns what ends it if it began."""
        if self.concurrency.permits(guest, size):
            return self._begin(guest, size)

        async def nothing() -> None:
            raise AssertionError("only closed")

        coroutine = nothing()

        def begin() -> None:
            coroutine.close()
            self._begin(guest, size)

        self.concurrency.hold(guest, Pending(coroutine, begin, size))
        return None

    def _begin(self, guest: Guest, size: int) -> Callable[[], None]:
        self.started.append(guest)
        line = self.concurrency.begin(guest, size)

        def end() -> None:
            self._ends.remove(end)
            self.concurrency.end(line, size)

        self._ends.append(end)
        return end

    def end_all(self) -> None:
        while self._ends:
            self._ends[0]()


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


def test_what_threads_are_at_for_all_clients_leaves_room() -> None:
    total, events, gate = Total(80), Events(), threading.Semaphore(0)
    threads = Threads("test", total=total)

    def work(size: int) -> None:
        events.add("begun", size)
        gate.acquire(timeout=60)

    try:
        for number, size in enumerate((50, 10, 10, 10, 20)):
            guest = Guest(f"192.0.2.{number}", Account(total))
            threads.submit_for(guest, size, work, size)
        events.wait_for("begun", 50)  # one may be as large as it likes
        assert total.by_kind()["running"] == 50
        gate.release()
        events.wait_for("begun", 10, count=3)
        assert total.by_kind()["running"] == 30
        gate.release(4)
        events.wait_for("begun", 20)
    finally:
        gate.release(5)
        threads.close(10)
    eventually(lambda: total.size == 0, "nothing is counted any longer")


def test_tasks_of_all_clients_leave_room() -> None:
    tasks = Tasks(Total(80))
    first, second, third = (Guest(str(n), Account(tasks.total)) for n in range(3))
    end_large = tasks.start(first, 50)
    assert end_large is not None
    for guest in (second, third, second):
        assert tasks.start(guest, 10) is None
    assert (second.held_up, third.held_up) == (1, 1)
    assert tasks.total.by_kind()["pending"] == 30
    end_large()
    assert tasks.started == [first, second, second, third]
    assert (second.held_up, third.held_up) == (0, 0)
    assert tasks.start(first, 10) is None, "there is no room for more"
    tasks.end_all()
    assert tasks.total.size == 0


def test_tasks_that_wait_are_dropped_with_their_client_and_at_the_end() -> None:
    tasks = Tasks(Total(80))
    first, second, third = (Guest(str(n), Account(tasks.total)) for n in range(3))
    tasks.start(first, 50)
    for guest in (second, second, third):
        tasks.start(guest, 10)
    assert tasks.concurrency.leave(second) == 2
    assert tasks.total.by_kind()["pending"] == 10
    tasks.concurrency.close()
    assert tasks.start(second, 10) is None
    assert tasks.total.by_kind()["pending"] == 0
    tasks.end_all()
    assert tasks.started == [first]
    assert tasks.total.size == 0


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
        concurrency.end(lines.pop(), 1)
    assert guest.held_up == 0
    for line in lines:
        concurrency.end(line, 1)
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
        concurrency.end(each, 1)
    assert second.held_up == 0
    for each in lines[most // 2 :]:
        concurrency.end(each, 1)
    concurrency.end(line, 1)
    assert total.size == 0
