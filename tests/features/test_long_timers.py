"""The timers of seconds that a loop of libuv does not have: another thread watches them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
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
        timers.add(due, lambda name=name: called.append(name))  # type: ignore[misc]
    assert timers.take(0.9) == []
    for now, expected in (
        (1.0, ["first", "first too"]),
        (1.5, []),
        (9.0, ["second", "third"]),
        (9.0, []),
    ):
        called.clear()
        for func in timers.take(now):
            func()
        assert called == expected


def on_a_loop(main: Callable[[Callable[[], list[float]]], Any]) -> None:
    """Run it on a loop that says how many seconds the timers have that are still to come."""

    class Listing(fast.Loop):  # type: ignore[misc]
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
        server.on("echo")(lambda client, message: message)
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


@needs_it
def test_nothing_is_called_after_the_end() -> None:
    async def main(to_come: Callable[[], list[float]]) -> None:
        thread = LoopThread()
        thread.begin()
        thread.watch()
        called: list[float] = []
        for seconds in (long_timers.LONG, 2 * long_timers.LONG):
            thread.later(seconds, lambda: called.append(thread.late))
        assert to_come() == []
        watching = threading.Event()
        while not called:
            await asyncio.to_thread(watching.wait, 0.01)
            thread.look()
        assert [late >= 0 for late in called] == [True]
        posted: list[Any] = []

        def post(*args: Any) -> bool:
            posted.append(args)
            return True

        thread.post = post  # type: ignore[method-assign,assignment]
        while not posted:
            await asyncio.to_thread(watching.wait, 0.01)
            thread.look()
        thread.end()
        func, *args = posted[0]
        func(*args)
        thread.look()
        assert len(called) == 1

    on_a_loop(main)


def test_loops_of_asyncio_keep_theirs() -> None:
    """Tests and simulations replace their clock."""
    loop = asyncio.new_event_loop()
    try:
        assert not long_timers.wanted(loop)
    finally:
        loop.close()
