"""``@server.every``: on a loop whose clock jumps, so that times are exact and nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from support.fixtures import MakeServer
from support.logs import logged

import hisock

from .loops import LOOPBACK, on_loops, run_on, within
from .virtual_time import VirtualLoop

INTERVAL = 1 / 20


def serve(
    arrange: Callable[[hisock.HiSockServer, VirtualLoop, Callable[[], None]], Any],
    error_handler: Callable[[Exception], Any] | None = None,
) -> hisock.HiSockServer:
    """Run a server until what is arranged calls its third argument."""
    loop = VirtualLoop()
    server = hisock.HiSockServer(LOOPBACK, keepalive=False)

    async def main() -> None:
        arrange(server, loop, server.close)
        await server.serve(error_handler=error_handler)

    run_on(loop, main())
    return server


def close_to(numbers: list[float]) -> Any:
    return pytest.approx(numbers, abs=1e-6)


def test_ticks_do_not_drift_however_long_each_takes() -> None:
    times: list[float] = []

    def arrange(server: hisock.HiSockServer, loop: VirtualLoop, stop: Callable[[], None]) -> None:
        start = loop.time()

        @server.every(INTERVAL)
        def tick() -> None:
            times.append(loop.time() - start)
            loop.take(INTERVAL * (len(times) % 9) / 10)  # 0 to 80 % of the interval
            if len(times) == 2000:
                stop()

    serve(arrange)
    # The 2000th tick is due exactly 100 s after the start, and so on for each.
    assert times == close_to([INTERVAL * (n + 1) for n in range(2000)])


def test_dt_is_the_time_since_the_tick_before() -> None:
    times: list[float] = []
    steps: list[float] = []

    def arrange(server: hisock.HiSockServer, loop: VirtualLoop, stop: Callable[[], None]) -> None:
        times.append(loop.time())

        @server.every(INTERVAL)
        def tick(dt: float) -> None:
            times.append(loop.time())
            steps.append(dt)
            loop.take([0.01, 0.07, 0.2, 0.0][len(steps) % 4])
            if len(steps) == 100:
                stop()

    serve(arrange)
    assert steps == close_to([b - a for a, b in pairwise(times)])
    assert sum(steps) == pytest.approx(times[-1] - times[0])


def test_late_ticks_are_skipped_and_counted_not_made_up_for() -> None:
    times: list[float] = []

    def arrange(server: hisock.HiSockServer, loop: VirtualLoop, stop: Callable[[], None]) -> None:
        start = loop.time()

        @server.every(INTERVAL)
        def tick() -> None:
            times.append(loop.time() - start)
            if len(times) == 3:
                loop.take(3.5 * INTERVAL)
            if len(times) == 6:
                stop()

    server = serve(arrange)
    # The third tick kept the loop over the 4th, 5th and 6th.
    assert times == close_to([INTERVAL * n for n in (1, 2, 3, 7, 8, 9)])
    assert skipped(server) == 3


def test_a_loop_kept_busy_by_others_makes_ticks_late_and_that_is_told() -> None:
    times: list[float] = []

    def arrange(server: hisock.HiSockServer, loop: VirtualLoop, stop: Callable[[], None]) -> None:
        start = loop.time()

        @server.every(INTERVAL)
        def tick() -> None:
            times.append(loop.time() - start)
            if len(times) == 3:
                stop()

        # Somebody else's work, from just before the second tick till 0.4 intervals after it.
        loop.call_at(start + 1.9 * INTERVAL, loop.take, 0.5 * INTERVAL)

    server = serve(arrange)
    assert times == close_to([INTERVAL, 2.4 * INTERVAL, 3 * INTERVAL])
    assert skipped(server) == 0
    (figures,) = tick_figures(server)
    assert figures.latest == pytest.approx(0.4 * INTERVAL, abs=1e-6)
    assert figures.late == pytest.approx(0, abs=1e-6)


def tick_figures(server: hisock.HiSockServer) -> list[Any]:
    return list(server.stats().ticks.values())


def skipped(server: hisock.HiSockServer) -> int:
    count: int = tick_figures(server)[0].skipped
    return count


def test_an_async_tick_is_awaited_and_never_runs_twice_at_a_time() -> None:
    times: list[float] = []
    running = 0

    def arrange(server: hisock.HiSockServer, loop: VirtualLoop, stop: Callable[[], None]) -> None:
        start = loop.time()

        @server.every(INTERVAL)
        async def tick(dt: float) -> None:
            nonlocal running
            running += 1
            assert running == 1
            times.append(loop.time() - start)
            await asyncio.sleep(INTERVAL * (1.5 if len(times) % 2 else 0.5))
            running -= 1
            if len(times) == 6:
                stop()

    serve(arrange)
    # Every first, third, ... one lasts into the next, which is skipped.
    assert times == close_to([INTERVAL * n for n in (1, 3, 4, 6, 7, 9)])


def test_ticks_of_different_rates_run_beside_each_other() -> None:
    counts = {"fast": 0, "slow": 0}

    def arrange(server: hisock.HiSockServer, loop: VirtualLoop, stop: Callable[[], None]) -> None:
        @server.every(0.01)
        def fast() -> None:
            counts["fast"] += 1

        @server.every(1)
        async def slow() -> None:
            counts["slow"] += 1
            if counts["slow"] == 10:
                await asyncio.sleep(0.005)
                stop()

    server = serve(arrange)
    assert counts == {"fast": 1000, "slow": 10}
    assert len(tick_figures(server)) == 2


def test_a_tick_that_fails_is_reported_and_ticks_on() -> None:
    errors: list[Exception] = []
    count = 0

    def arrange(server: hisock.HiSockServer, loop: VirtualLoop, stop: Callable[[], None]) -> None:
        @server.every(INTERVAL)
        def failing() -> None:
            nonlocal count
            count += 1
            if count == 3:
                stop()
            raise RuntimeError(f"tick {count}")

        @server.every(INTERVAL)
        async def failing_later() -> None:
            await asyncio.sleep(0)
            raise LookupError

    with logged("hisock.server") as log:
        serve(arrange, errors.append)
    assert [str(e) for e in errors if isinstance(e, RuntimeError)] == ["tick 1", "tick 2", "tick 3"]
    assert sum(isinstance(e, LookupError) for e in errors) >= 2
    assert "failing" in log.messages[0]


def test_a_tick_may_be_added_while_the_server_runs() -> None:
    times: list[float] = []

    def arrange(server: hisock.HiSockServer, loop: VirtualLoop, stop: Callable[[], None]) -> None:
        start = loop.time()

        def add() -> None:
            @server.every(1)
            def tick() -> None:
                times.append(loop.time() - start)
                if len(times) == 3:
                    stop()

        loop.call_later(0.5, add)

    serve(arrange)
    assert times == close_to([1.5, 2.5, 3.5])


def test_ticks_end_with_the_server() -> None:
    ended: list[str] = []
    count = 0

    def arrange(server: hisock.HiSockServer, loop: VirtualLoop, stop: Callable[[], None]) -> None:
        @server.every(INTERVAL)
        def tick() -> None:
            nonlocal count
            count += 1
            if count == 5:
                stop()

        @server.every(INTERVAL)
        async def waiting() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

    serve(arrange)
    assert count == 5
    assert ended == ["cancelled"]


def test_what_is_no_tick_is_refused() -> None:
    with hisock.HiSockServer(LOOPBACK) as server:
        for interval in (0, -1):
            with pytest.raises(ValueError, match="interval"):
                server.every(interval)(lambda: None)

        def two(dt: float, more: float) -> None: ...

        with pytest.raises(TypeError, match="tick"):
            server.every(1)(two)

        def tick(dt: float) -> None: ...

        assert server.every(1)(tick) is tick


@on_loops
async def test_a_tick_sends_to_everybody() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        number = 0

        @server.every(0.002)
        def tick() -> None:
            nonlocal number
            number += 1
            server.send_all_clients("tick", number)

        async with (
            await hisock.async_connect(server.addr) as one,
            await hisock.async_connect(server.addr) as two,
        ):
            for client in (one, two):
                first = await client.recv("tick", int, 10)
                following = [await client.recv("tick", int, 10) for _ in range(20)]
                assert following == list(range(first + 1, first + 21))


def test_a_threaded_server_ticks(make_server: Any, events: Any) -> None:
    server = make_server()
    server.every(0.01)(lambda dt: events.add("tick", dt))
    server.start()
    events.wait_for("tick", count=5)
    assert all(dt > 0 for (dt,) in events.named("tick"))


@pytest.mark.parametrize("how", ["plain", "async"])
def test_a_tick_that_asks_what_was_cancelled_is_reported_and_goes_on(
    make_server: MakeServer, events: Any, how: str
) -> None:
    server = make_server()

    async def cancelled() -> None:
        waiting = asyncio.ensure_future(asyncio.sleep(60))
        waiting.cancel()
        await waiting

    if how == "plain":

        @server.every(0.01)
        def plain_tick() -> None:
            events.add("tick")
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            future.result()
    else:

        @server.every(0.01)
        async def async_tick() -> None:
            events.add("tick")
            await cancelled()

    server.start(error_handler=lambda exc: events.add("error", exc.__cause__))
    events.wait_for("tick", count=3)
    _, cause = events.wait_for("error")
    assert isinstance(cause, asyncio.CancelledError)
    server.close()


class OddError(BaseException):
    """Not an ``Exception``."""


def test_a_tick_that_fails_oddly_goes_on(make_server: MakeServer, events: Any) -> None:
    server = make_server()

    @server.every(0.01)
    def tick() -> None:
        events.add("tick")
        raise OddError

    server.start(error_handler=lambda exc: events.add("error", exc.__cause__))
    events.wait_for("tick", count=3)
    assert isinstance(events.wait_for("error")[1], OddError)
    server.close()


@on_loops
async def test_cancelling_whoever_serves_ends_a_tick_that_waits() -> None:
    began = asyncio.Event()
    errors: list[Exception] = []
    server = hisock.HiSockServer(LOOPBACK)

    @server.every(0.01)
    async def tick() -> None:
        began.set()
        await asyncio.sleep(60)

    serving = asyncio.ensure_future(server.serve(error_handler=errors.append))
    await within(began.wait())
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(serving)
    assert errors == []
