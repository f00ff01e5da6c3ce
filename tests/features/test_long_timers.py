"""The timers of seconds that a loop of libuv does not have: another thread watches them."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
from support.wire import frame

import hisock
from hisock._runtime import long_timers
from hisock._runtime.long_timers import LongTimers
from hisock._runtime.loop_thread import LoopThread
from hisock._runtime.loops import fast_loop_module

from .loops import LOOPBACK, within

fast: Any = fast_loop_module()
needs_it = pytest.mark.skipif(fast is None, reason="uvloop is not installed")


def test_they_are_due_in_order() -> None:
    timers = LongTimers()
    called: list[str] = []
    for due, name in ((3.0, "third"), (1.0, "first"), (2.0, "second"), (1.0, "first too")):
        timers.add(due, partial(called.append, name))
    assert timers.take(0.9) == []
    for now, expected in (
        (1.0, ["first", "first too"]),
        (1.5, []),
        (9.0, ["second", "third"]),
        (9.0, []),
    ):
        called.clear()
        for timer in timers.take(now):
            timer.func()
        assert called == expected


def on_a_loop(main: Callable[[Callable[[], list[float]]], Any]) -> None:
    """Run it on a loop that says how many seconds the timers have that are still to come."""

    class Listing(fast.Loop):  # type: ignore[misc]  # its base is not known here
        def __init__(self) -> None:
            super().__init__()
            self.timers: list[tuple[float, Any]] = []

        def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
            timer = super().call_later(delay, callback, *args, context=context)
            self.timers.append((delay, timer))
            return timer

        def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
            return self.call_later(when - self.time(), callback, *args, context=context)

        def to_come(self) -> list[float]:
            return [
                delay
                for delay, timer in self.timers
                if timer.when() > self.time() and not timer.cancelled()
            ]

    loop = Listing()

    async def run() -> None:
        ours = len(loop.to_come())  # the limit of time of this test
        await main(lambda: loop.to_come()[ours:])

    try:
        loop.run_until_complete(within(run()))
    finally:
        loop.close()


@needs_it
def test_a_server_that_waits_for_its_clients_has_no_timer() -> None:
    async def main(to_come: Callable[[], list[float]]) -> None:
        server = hisock.HiSockServer(LOOPBACK)  # with keepalives, as is the default
        async with server:
            assert to_come() == []
            _, writer = await asyncio.open_connection(*server.addr)
            writer.write(frame(b'$CLTHELLO${"name": null, "group": null}'))
            while not len(server) or to_come():  # those who joined are announced within 20 ms
                await within(asyncio.sleep(0))
            writer.close()

    on_a_loop(main)


@needs_it
def test_what_is_due_happens_all_the_same() -> None:
    async def main(to_come: Callable[[], list[float]]) -> None:
        server = hisock.HiSockServer(LOOPBACK, keepalive_interval=1.0, hello_timeout=1.0)
        async with server, await hisock.async_connect(server.addr):
            reader, writer = await asyncio.open_connection(*server.addr)
            assert b"no hello came" not in await reader.read()  # it is hung up on, unasked
            writer.close()
            assert server.stats().ended == {"hello": 1}
            (connection,) = server._hub.registry
            while not connection.writer.taken[0] > 1:  # its hello, and a keepalive
                await within(asyncio.sleep(0.01))
            assert 0 <= server.stats().loop_lag < long_timers.LONG

    on_a_loop(main)


def hold(seconds: float) -> None:
    time.sleep(seconds)


@needs_it
def test_a_loop_that_was_held_was_late() -> None:
    async def main(to_come: Callable[[], list[float]]) -> None:
        async with hisock.HiSockServer(LOOPBACK) as server:
            await asyncio.sleep(0.7)
            hold(0.9)  # it is due within that, and the watching thread looks at who holds the loop
            while server.stats().loop_lag < 0.2:
                await within(asyncio.sleep(0))

    on_a_loop(main)


@needs_it
def test_an_error_of_the_programs_logging_ends_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_type))

    def refuse(record: logging.LogRecord) -> bool:
        if "has held the loop" in record.getMessage():
            raise ZeroDivisionError("of this test")
        return True

    async def main(to_come: Callable[[], list[float]]) -> None:
        async with hisock.HiSockServer(LOOPBACK, hello_timeout=1.0) as server:
            hold(0.4)
            reader, writer = await asyncio.open_connection(*server.addr)
            await reader.read()
            writer.close()
            assert server.stats().ended == {"hello": 1}

    log = logging.getLogger("hisock.server")
    log.addFilter(refuse)
    try:
        on_a_loop(main)
    finally:
        log.removeFilter(refuse)
    assert set(raised) == {ZeroDivisionError}


@needs_it
def test_they_run_in_the_context_of_who_wanted_them_and_not_after_the_end() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nobody's")

    async def main(to_come: Callable[[], list[float]]) -> None:
        loop = asyncio.get_running_loop()
        thread = LoopThread()
        thread.begin()
        thread.watch()
        variable.set("ours")
        called: list[str] = []
        thread.later(long_timers.LONG, lambda: called.append(variable.get()))
        assert to_come() == []
        while not called:  # in a thread whose context is empty
            await within(loop.run_in_executor(None, thread.look, 0.01))
        assert called == ["ours"]
        assert 0 <= thread.late < long_timers.LONG
        timers = thread._long_timers
        assert timers is not None
        timers.add(0.0, lambda: called.append("after the end"))
        thread.look(0.01)
        thread.end()
        await asyncio.sleep(0)
        thread.look(0.01)
        await asyncio.sleep(0)
        assert called == ["ours"]

    on_a_loop(main)


@needs_it
def test_a_loop_with_a_clock_of_its_own_keeps_its_timers() -> None:
    class Simulated(fast.Loop):  # type: ignore[misc]  # likewise
        def time(self) -> float:
            return 5.0

    for kind, expected in ((fast.Loop, True), (Simulated, False)):
        loop = kind()
        assert long_timers.wanted(loop) == expected
        loop.close()


def test_loops_of_asyncio_keep_theirs() -> None:
    """Tests and simulations replace their clock."""
    loop = asyncio.new_event_loop()
    try:
        assert not long_timers.wanted(loop)
    finally:
        loop.close()
