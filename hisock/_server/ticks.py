"""Ticks: functions that a server calls at a steady rate."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hisock._core.checks import require_seconds
from hisock._core.jobs import ENDS_PROGRAM, as_error
from hisock._core.signature import Signature, argument_count
from hisock._server.stats import TickStats

if TYPE_CHECKING:
    from hisock._server.hub import Hub

logger = logging.getLogger("hisock.server")


class Tick:
    """One function that is called every ``interval`` seconds.

    Ticks are due at multiples of the interval from the first, so that they do not drift. Ticks that
    were missed are not made up for, but skipped, and counted in :attr:`skipped`.

    :param func: called with the seconds since its last call, or without arguments.
    :ivar due_here: whether a tick that is due is this server's, and not another one's.
    :ivar late: seconds that the last call came after it was due.
    :ivar latest: the maximum of :attr:`late` so far, in seconds.
    :ivar skipped: how many ticks were skipped because the one before took too long.
    """

    def __init__(self, interval: float, func: Callable[..., Any]) -> None:
        require_seconds("the interval of a tick", interval)
        signature = Signature(func, {})
        self._takes_dt = bool(argument_count(signature, "every()", (0, 1), exact=False))
        self.name = signature.name
        self.interval = interval
        self.func = func
        self.due_here: Callable[[], bool] = _always
        self.late = 0.0
        self.latest = 0.0
        self.skipped = 0
        self._running = False
        self._ending = False

    def _call(self, dt: float) -> Any:
        return self.func(dt) if self._takes_dt else self.func()

    def end(self) -> bool:
        """Start no more ticks; returns whether one is running, with which :meth:`run` ends."""
        self._ending = True
        return self._running

    def _cancelled(self) -> bool:
        """Whether a ``CancelledError`` cancels the tick, not only what its function awaited."""
        if sys.version_info >= (3, 11):
            task = asyncio.current_task()
            return self._ending or (task is not None and task.cancelling() > 0)
        return self._ending

    async def run(self, failed: Callable[[Exception, str], None]) -> None:
        """Tick until cancelled, or until :meth:`end`.

        :param failed: called with every exception that the function raises, and with its name.
        """
        loop = asyncio.get_running_loop()
        last = loop.time()
        due = last + self.interval
        while not self._ending:
            await asyncio.sleep(max(0.0, due - loop.time()))
            now = loop.time()
            self.late = max(0.0, now - due)
            self.latest = max(self.latest, self.late)
            self._running = True
            try:
                result = self._call(now - last) if self.due_here() else None
                if inspect.isawaitable(result):
                    await result
            except asyncio.CancelledError as exc:
                if self._cancelled():
                    raise
                failed(as_error(exc), self.name)
            except ENDS_PROGRAM:
                raise
            except BaseException as exc:
                failed(as_error(exc), self.name)
            finally:
                self._running = False
            last = now
            missed = int((loop.time() - due) / self.interval)
            self.skipped += missed
            due += self.interval * (missed + 1)


def _always() -> bool:
    return True


class Ticks:
    """The ticks of one server."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._ticks: list[Tick] = []
        self._running: list[tuple[Tick, asyncio.Task[None]]] = []

    def add(self, tick: Tick) -> None:
        """Call a function at a steady rate while the server runs. From any thread."""
        self._ticks.append(tick)
        if self._hub.thread.running and not self._hub.shutdown.begun:
            self._hub.thread.run(lambda: self._run(tick))

    def leads(self) -> bool:
        """Whether this server does what only one server of a cluster does."""
        backplane = self._hub.broadcast.backplane
        return backplane is None or backplane.leads()

    def start(self) -> None:
        """Start the ticks that were added before the server ran."""
        for tick in self._ticks:
            self._run(tick)

    def _run(self, tick: Tick) -> None:
        def failed(exc: Exception, name: str) -> None:
            self._hub.runner.report(exc, name, None)

        task = self._hub.loop.create_task(tick.run(failed))
        self._running.append((tick, task))
        self._hub.tasks.add(task)

    def end(self) -> None:
        """Start no more ticks; one that is running may finish, as handlers may."""
        for tick, task in self._running:
            if not tick.end():
                task.cancel()

    def stats(self) -> dict[str, TickStats]:
        """The figures of each tick, by name. From any thread."""
        return {
            tick.name: TickStats(tick.interval, tick.late, tick.latest, tick.skipped)
            for tick in self._ticks
        }
