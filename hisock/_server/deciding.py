"""Decisions of the program about a client, which may take their time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub


class Deciding:
    """Asks the program about clients. What a client sends meanwhile waits, in order."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        #: The connections that the program is deciding about.
        self._waiting: dict[asyncio.Task[None], Connection] = {}

    def ask(
        self,
        connection: Connection,
        question: Callable[[], Any],
        decided: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Have the program decide, and say what came of it, unless the connection ends before.

        :param question: asks it. What it returns is awaited if it can be.
        :param decided: called with the answer.
        :param failed: called with the exception that came instead, or with
            :class:`asyncio.TimeoutError` after ``auth_timeout`` seconds.
        """
        try:
            answer = question()
        except asyncio.CancelledError:
            failed(_cancelled())
            return
        except Exception as exc:
            failed(exc)
            return
        if not _takes_time(answer):
            decided(answer)
            return
        connection.begin()
        task = self._hub.loop.create_task(self._wait(connection, answer, decided, failed))
        self._hub.tasks.add(task)
        self._waiting[task] = connection
        task.add_done_callback(self._waiting.pop)

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
            answer = await asyncio.wait_for(_settle(answer), hub.options.auth_timeout)
        except asyncio.CancelledError:
            # By a server that closes, or of something that the program awaits.
            exc = _cancelled()
        except Exception as failure:
            exc = failure
        if exc is None and not connection.ended:
            decided(answer)
        elif exc is not None and not connection.ended and not hub.closing.begun:
            failed(exc)
        connection.idle()

    def close(self) -> None:
        """Give up on all that is undecided."""
        for task, connection in list(self._waiting.items()):
            if not connection.joined:
                self._hub.leave(connection, "closed", "the server is closing", goodbye=True)
            task.cancel()


def _takes_time(answer: Any) -> bool:
    return inspect.isawaitable(answer) or isinstance(answer, Future)


async def _settle(answer: Any) -> Any:
    """What an answer comes to in the end: it may be a coroutine that returns a task, and so on."""
    while _takes_time(answer):
        answer = await (asyncio.wrap_future(answer) if isinstance(answer, Future) else answer)
    return answer


def _cancelled() -> Exception:
    return RuntimeError("the decision was cancelled")
