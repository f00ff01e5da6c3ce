"""Time-outs of many calls by one timer: each expires when its own time is over, and only then."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextvars import Context, ContextVar
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hisock
from hisock._runtime.deadlines import MOST_LENGTHS, Deadlines
from hisock.testing import TestServer

from .loops import LOOPBACK, on_loops, on_one_loop
from .virtual_time import VirtualLoop

TENTHS = st.integers(1, 40)


class Waiting:
    """Notes when it expires."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.expired: list[float] = []

    def expire(self) -> None:
        self.expired.append(round(self.loop.time(), 3))


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop()
    yield made
    made.close()


@given(st.lists(st.tuples(TENTHS, st.sampled_from([0.1, 0.5, 2.0]), TENTHS | st.none())))
def test_each_expires_when_its_time_is_over(plan: list[tuple[int, float, int | None]]) -> None:
    """:param plan: when each begins, for how long it waits, and when it is served, if ever."""
    loop = VirtualLoop()
    deadlines = Deadlines(loop)
    zero = loop.time()
    waiting = [Waiting(loop) for _ in plan]
    for one, (begins, seconds, served) in zip(waiting, plan, strict=True):
        loop.call_at(zero + begins / 10, deadlines.add, one, seconds)
        if served is not None:
            after = zero + (begins + served) / 10 - 0.01
            loop.call_at(after, deadlines.remove, one, seconds)
    loop.run_until_complete(asyncio.sleep(100))
    loop.close()
    for one, (begins, seconds, served) in zip(waiting, plan, strict=True):
        in_time = served is not None and served / 10 - 0.01 < seconds
        assert one.expired == ([] if in_time else [round(zero + begins / 10 + seconds, 3)])


def test_a_timer_ends_with_the_last_deadline(loop: VirtualLoop) -> None:
    deadlines = Deadlines(loop)
    for _ in range(1000):
        one = Waiting(loop)
        assert deadlines.add(one, 5.0)
        deadlines.remove(one, 5.0)
    assert len(loop._scheduled) == 1  # type: ignore[attr-defined]
    loop.run_until_complete(asyncio.sleep(6))
    assert not deadlines._waiting
    assert not loop._scheduled  # type: ignore[attr-defined]


def test_times_that_all_differ_make_few_timers(loop: VirtualLoop) -> None:
    deadlines = Deadlines(loop)
    taken = [deadlines.add(Waiting(loop), 1 + number / 1000) for number in range(1000)]
    assert taken == [True] * MOST_LENGTHS + [False] * (1000 - MOST_LENGTHS)
    assert not deadlines.add(Waiting(loop), 0)
    assert not deadlines.add(Waiting(loop), float("nan"))


def test_lengths_that_nobody_waits_for_make_room(loop: VirtualLoop) -> None:
    """Calls with sixteen long times, all answered, left each other its own timer for that long."""
    deadlines = Deadlines(loop)
    first = Waiting(loop)
    assert deadlines.add(first, 5.0)
    for number in range(1000):
        one, seconds = Waiting(loop), 3600 + number
        assert deadlines.add(one, seconds)
        deadlines.remove(one, seconds)
    assert len(deadlines._waiting) == len(deadlines._timers) == MOST_LENGTHS
    timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
    assert len(timers) == MOST_LENGTHS
    loop.run_until_complete(asyncio.sleep(6))
    assert first.expired
    loop.run_until_complete(asyncio.sleep(5000))
    assert not deadlines._waiting
    assert not deadlines._timers


def test_a_time_that_is_no_number_disturbs_no_other(loop: VirtualLoop) -> None:
    """``Decimal(5)`` and ``5.0`` are the same key of a dictionary."""
    deadlines, one = Deadlines(loop), Waiting(loop)
    with pytest.raises(TypeError):
        deadlines.add(one, Decimal(5))  # type: ignore[arg-type]
    assert deadlines.add(one, 5.0)
    loop.run_until_complete(asyncio.sleep(6))
    assert len(one.expired) == 1


def test_a_timer_that_the_loop_calls_a_little_early_is_over(loop: VirtualLoop) -> None:
    """It may do so by its clock's resolution; that of a test stands still meanwhile."""
    deadlines, one = Deadlines(loop), Waiting(loop)
    assert deadlines.add(one, 5.0)
    loop.take(5.0 - loop._clock_resolution / 2)  # type: ignore[attr-defined]
    loop.run_until_complete(asyncio.sleep(0))
    assert one.expired


def test_a_timer_keeps_nothing_of_the_task_that_was_the_first(loop: VirtualLoop) -> None:
    """It goes on for as long as there are others."""
    deadlines, one, request = Deadlines(loop), Waiting(loop), Waiting(loop)
    kept, context = weakref.ref(request), Context()
    context.run(ContextVar[Waiting]("request").set, request)
    context.run(deadlines.add, one, 5.0)
    del request, context
    assert kept() is None


@on_loops
async def test_calls_time_out_whatever_their_times_are() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server, hisock.async_connect(server.addr) as client:
        ended = asyncio.Event()

        @server.on("slow", concurrent=True)
        async def slow(client: hisock.ClientInfo) -> None:
            await ended.wait()

        times = [-1, 0, 0.01, 0.01, *(0.02 + number / 1000 for number in range(2 * MOST_LENGTHS))]
        calls = [client.call("slow", timeout=seconds) for seconds in times]
        late = await asyncio.gather(*calls, return_exceptions=True)
        assert [str(exc) for exc in late if isinstance(exc, TimeoutError)] == [
            f"the call 'slow' was not answered within {seconds} seconds" for seconds in times
        ]
        ended.set()
        assert await client.call("slow", timeout=None) is None


@on_one_loop
async def test_what_a_call_waits_before_it_is_sent_counts() -> None:
    server = hisock.HiSockServer(None)

    @server.on("slow", concurrent=True)
    async def slow(client: hisock.ClientInfo) -> None:
        await asyncio.Event().wait()

    async with TestServer(server) as t:
        ada = await t.connect("Ada")
        session = ada._driver.session
        session.returning = True
        call = asyncio.ensure_future(ada.call("slow", timeout=10))
        await t.clock.advance(4)
        session.returning = False
        session.settled.set()
        await t.clock.advance(6)
        assert isinstance(call.exception(), TimeoutError)
