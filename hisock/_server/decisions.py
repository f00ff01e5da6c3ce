"""Decisions of the program about a client, which may be asynchronous."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from hisock._core.jobs import ENDS_PROGRAM, as_error
from hisock._runtime.patience import within

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub


class Decisions:
    """Runs the program's decisions. Frames of a client wait, in order, while one is pending."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        #: The connections that the program is deciding about.
        self._waiting: dict[Connection, asyncio.Task[None]] = {}

    def ask(
        self,
        connection: Connection,
        question: Callable[[], Any],
        decided: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Run a decision; unless the connection ends first, one of the callbacks gets its result.

        :param question: the decision. Its result is awaited if it is awaitable.
        :param decided: called with the result.
        :param failed: called with the exception that it raised, or with
            :class:`asyncio.TimeoutError` after ``auth_timeout`` seconds.
        """
        try:
            answer = question()
        except ENDS_PROGRAM:
            raise
        except BaseException as exc:
            if not connection.ended:
                failed(_failure(exc))
            return
        if not _takes_time(answer):
            if not connection.ended:  # the decision may have disconnected the client itself
                decided(answer)
            return
        connection.begin()
        task = self._hub.loop.create_task(self._wait(connection, answer, decided, failed))
        self._hub.tasks.add(task)
        self._waiting[connection] = task
        task.add_done_callback(partial(self._ended, connection, answer))

    def _ended(self, connection: Connection, answer: Any, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # before it had begun
            connection.idle()
            if inspect.iscoroutine(answer):
                answer.close()
        # Another decision may have begun at the end of this one.
        if self._waiting.get(connection) is task:
            del self._waiting[connection]

    async def _wait(
        self,
        connection: Connection,
        answer: Any,
        decided: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        hub = self._hub
        exc: Exception | None = None
        try:
            answer = await within(hub.options.auth_timeout, _settle(answer))
        except BaseException as failure:
            exc = _failure(failure)
        try:
            if isinstance(answer, _EndsProgram):
                hub.interrupt(answer.exc)
            elif exc is None and not connection.ended:
                decided(answer)
            elif exc is not None and not connection.ended and not hub.shutdown.begun:
                failed(exc)
        finally:
            connection.idle()

    def left(self, connection: Connection) -> None:
        """A client has hung up while the program decides about it.

        If it has asked for nothing that waits for the decision, that is cancelled, since the client
        would keep a place of a server that is full, for up to ``auth_timeout`` seconds.
        """
        if connection.joined or connection.ended or not connection.inbox.only_goodbyes():
            return
        task = self._waiting.get(connection)
        if task is not None:
            self._hub.leave(connection, "left", "it left while the program decided about it")
            task.cancel()

    def close(self) -> None:
        """Cancel all pending decisions; clients that have not joined are disconnected."""
        for connection, task in list(self._waiting.items()):
            if not connection.joined:
                self._hub.leave(connection, "closed", "the server is closing", goodbye=True)
            task.cancel()


def _takes_time(answer: Any) -> bool:
    return inspect.isawaitable(answer) or isinstance(answer, Future)


class _EndsProgram:
    """What a decision raised to end the program.

    Raised in a task, it would leave the loop at once, and again where the task is awaited while
    clients are told goodbye.
    """

    def __init__(self, exc: BaseException) -> None:
        self.exc = exc


async def _settle(answer: Any) -> Any:
    """The final result of an answer, which may be a coroutine that returns a task, and so on."""
    try:
        while _takes_time(answer):
            answer = await (asyncio.wrap_future(answer) if isinstance(answer, Future) else answer)
    except ENDS_PROGRAM as exc:
        return _EndsProgram(exc)
    return answer


def _failure(exc: BaseException) -> Exception:
    """What a decision raised, as an error of the program.

    It may have been cancelled by the server's shutdown, or by something that the program awaited.
    """
    if isinstance(exc, asyncio.CancelledError):
        return RuntimeError("the decision was cancelled")
    return as_error(exc)
