"""Runs a server's handlers, in threads and as tasks, and reports their errors."""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from hisock._core import tracing
from hisock._core.account import TASK_COST, WORK_COST, Total
from hisock._core.client_info import ClientInfo
from hisock._core.error_handlers import BoundErrorHandler
from hisock._core.faults import FaultLog, tell
from hisock._core.jobs import ENDS_PROGRAM, Job
from hisock._core.reporting import LogLimit
from hisock._runtime.concurrency import Concurrency, OrderedPlace, Pending, TaskPlace
from hisock._runtime.loop_thread import LoopThread
from hisock._runtime.tasks import Tasks
from hisock._runtime.threads import Threads
from hisock._runtime.turns import Queue, Turns
from hisock.exceptions import ClientDisconnected

if TYPE_CHECKING:
    from hisock._server.connection import Connection

logger = logging.getLogger("hisock.server")

#: Tracebacks logged at once: the loop takes about 0.3 ms to write each.
_MOST_TRACEBACKS = 30
#: Bytes of a frame from which on it is counted while its ordered async handler runs. Each client
#: has one such handler at most, so that shorter ones are a part of what a connection takes.
_LARGE = 65536


class HandlerRunner:
    """Runs the handlers of one server; see :class:`hisock._core.jobs.Runner`.

    :param thread: where the loop runs.
    :param max_buffered: bytes that all connections together may occupy.
    :ivar error_handler: called with every exception of a handler; ``None`` if there is none.
    :ivar errors: how many exceptions handlers have raised.
    :ivar tasks: async handlers, and ticks.
    :ivar workers: the threads of threaded handlers.
    :ivar concurrency: bounds the tasks of ``concurrent`` handlers.
    :ivar turns: spreads what many frames cost over iterations of the loop; ``parts`` those of
        replies.
    :ivar memory: the memory that all connections occupy.
    :ivar free_memory: called on the loop's thread when ``memory`` is over its limit, with the
        connection that holds more now.
    :ivar closing: whether the server is closing, which ends handlers that wait for a frame.
    """

    has_loop = True

    def __init__(self, thread: LoopThread, max_buffered: int) -> None:
        self.error_handler: BoundErrorHandler | None = None
        self.errors = 0
        self.tasks = Tasks()
        self.memory = Total(max_buffered)
        self.workers = Threads("hisock-server", self._continue, self.memory)
        self.concurrency = Concurrency(self.memory)
        self.free_memory: Callable[[Connection], None] = _nothing_of
        self.closing = False
        self._thread = thread
        self._faults = FaultLog(logger, LogLimit(burst=_MOST_TRACEBACKS))
        self.turns = Turns(lambda func: thread.loop.call_soon(func))
        self.parts = Queue()

    def report(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        """Log an error of a handler, count it, and give it to the error handler."""
        if self.closing and isinstance(exc, ClientDisconnected):
            return  # the handler was waiting for a frame when the server closed
        self.errors += 1
        self._faults.log(exc, command, client, time.monotonic())
        tell(self.error_handler, exc, command, client, logger)

    def in_thread(self, func: Callable[[], Any], job: Job, size: int) -> None:
        """Run a handler in another thread.

        If too much work of one connection is queued, its next frames are deferred as they are
        behind an async handler, in order and within the same bounds.
        """
        connection: Connection | None = job.connection
        run: Callable[..., None] = job.run
        if tracing.incoming.get() is not None:
            run = partial(contextvars.copy_context().run, run)
        size += WORK_COST
        full = self.workers.submit_for(connection, size, run, func, on_drop=job.drop)
        if connection is None:
            return
        if full:
            connection.begin()
        if self.memory.over:
            self._thread.post(self.free_memory, connection)

    def _continue(self, connection: Connection) -> None:
        self._thread.post(connection.idle)

    def in_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        """Run a coroutine on the loop."""
        connection: Connection | None = job.connection
        if connection is None:
            self.tasks.start(coroutine, job, _nothing, _nothing)
        elif ordered and job.size < _LARGE:
            self.tasks.start(coroutine, job, connection.begin, connection.idle)
        else:
            size = job.size + TASK_COST
            make = OrderedPlace if ordered else TaskPlace
            self._start_counted(coroutine, job, make(self.concurrency, connection, size))

    def _start_counted(
        self, coroutine: Coroutine[Any, Any, Any], job: Job, place: TaskPlace
    ) -> None:
        connection: Connection = job.connection
        if self.concurrency.permits(connection, place.size):
            self._start_task(coroutine, job, place)
            return

        def start() -> None:
            try:
                self._start_task(coroutine, job, place)
            except ENDS_PROGRAM as exc:
                connection.hub.interrupt(exc)

        pending = Pending(coroutine, start, place.size, job.drop)
        if job.runs is not None:
            job.runs(pending.drop)
        self.concurrency.hold(connection, pending)
        if self.memory.over:
            self._thread.post(self.free_memory, connection)

    def _start_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, place: TaskPlace) -> None:
        if job.done is None:  # else the frame was counted as a call
            self.turns.count(job.connection)
        self.tasks.start(coroutine, job, place.begin, place)

    def leave(self, connection: Connection, drop: bool) -> int:
        """A connection has ended: what it still occupies stays counted for its address.

        :param drop: drop its threaded work that has not begun.
        :returns: how many pieces of work were dropped, which had not begun.
        """
        return self.concurrency.leave(connection) + self.workers.leave(connection, drop)


def _nothing() -> None:
    """Do nothing: no connection waits for the end of this work."""


def _nothing_of(connection: Connection) -> None:
    """Do nothing: there is no server yet."""
