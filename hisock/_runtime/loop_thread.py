"""The thread of a server's event loop, and the calls into it from other threads."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Lock, get_ident
from typing import Any, TypeVar

from hisock._runtime import long_timers
from hisock._runtime.deadlines import Deadlines
from hisock._runtime.long_timers import LongTimers

T = TypeVar("T")
V = TypeVar("V")


class LoopThread:
    """A loop and the thread that it runs in.

    :ivar loop: the loop, from :meth:`begin` on; and with it the ``deadlines`` of those who wait.
    :ivar running: whether it is between :meth:`begin` and :meth:`end`.
    :ivar ident: that of the thread; 0 while there is none.
    :ivar late: seconds that the last function of :meth:`later` was called late.
    """

    loop: asyncio.AbstractEventLoop
    deadlines: Deadlines

    def __init__(self) -> None:
        self.running = False
        self.ident = 0
        self.late = 0.0
        self._timers: set[asyncio.TimerHandle] = set()
        #: ``None`` where nobody watches them, or the loop gains nothing by it.
        self._long_timers: LongTimers | None = None
        self._looked = 0.0
        #: Held while :meth:`run` posts: what is posted before the end still runs, nothing after.
        self._posting = Lock()

    def begin(self) -> None:
        """Adopt the loop that runs in the calling thread."""
        self.loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self.loop)
        self.ident = get_ident()
        self.running = True

    def end(self) -> None:
        """Cancel the timers of :meth:`later`."""
        for timer in self._timers:
            timer.cancel()
        self._long_timers = None
        with self._posting:
            self.running = False

    def forget(self) -> None:
        """Drop the loop, which is the parent's, in a forked child."""
        self.running = False
        self.ident = 0
        self._long_timers = None
        self._posting = Lock()
        self.loop = asyncio.new_event_loop()
        self.deadlines = Deadlines(self.loop)
        self.loop.close()

    def is_current(self) -> bool:
        """Whether the caller runs in this thread. From any thread."""
        return get_ident() == self.ident

    def run(self, func: Callable[[], T]) -> T:
        """Run a function on the loop and return its result. From any thread.

        Before :meth:`begin` and after :meth:`end` the function runs in the caller's thread, which
        is safe because there are no clients then.
        """
        if not self.running or self.is_current():
            return func()
        result: Future[T] = Future()

        def call() -> None:
            try:
                result.set_result(func())
            except BaseException as exc:
                result.set_exception(exc)

        with self._posting:
            posted = self.running and self.post(call)
        return result.result() if posted else func()

    def post(self, func: Callable[..., object], *args: Any) -> bool:
        """Schedule a function on the loop; ``False`` if the loop has ended. From any thread."""
        try:
            self.loop.call_soon_threadsafe(func, *args)
        except RuntimeError:
            return False
        return True

    def spread(self, items: Iterable[V], func: Callable[[V], object], each: int) -> None:
        """Call a function for every item, ``each`` of them in one iteration of the loop.

        The loop reads and writes in between, however many items there are.
        """
        left = iter(items)

        def take_some() -> None:
            some = list(itertools.islice(left, each))
            for item in some:
                func(item)
            if len(some) == each:
                self.loop.call_soon(take_some)

        take_some()

    def later(self, seconds: float, func: Callable[[], None]) -> None:
        """Call a function in so many seconds, unless :meth:`end` comes before."""
        if self._long_timers is not None and seconds >= long_timers.LONG:
            self._long_timers.add(time.monotonic() + seconds, func)
            return
        due = self.loop.time() + seconds

        def call() -> None:
            self._timers.discard(timer)
            self.late = max(0.0, self.loop.time() - due)
            func()

        timer = self.loop.call_at(due, call)
        self._timers.add(timer)

    def watch(self) -> None:
        """Have another thread call :meth:`look` at short intervals from now on, until the end."""
        if long_timers.wanted(self.loop):
            self._looked = time.monotonic()
            self._long_timers = LongTimers()

    def look(self, interval: float) -> None:
        """Post the long timers that are due. From the thread that watches.

        :param interval: seconds between two looks. A function is not called late by less than that,
            but by all for which that thread was kept from looking.
        """
        timers = self._long_timers
        if timers is None:
            return
        now = time.monotonic()
        expected, self._looked = min(now, self._looked + interval), now
        for timer in timers.take(now):
            since = max(timer.due, expected)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self.loop.call_soon_threadsafe(self._call, timer.func, since, context=timer.context)

    def _call(self, func: Callable[[], None], since: float) -> None:
        if self.running:
            self.late = max(0.0, time.monotonic() - since)
            func()
