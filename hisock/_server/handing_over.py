"""Handing accepted sockets over to the loop, which makes their transports.

Only a coroutine of the loop can do that. A task for each socket would take longer than all else
that happens to it, so a few tasks do it for all of them.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from hisock._server.connection import Connection

#: Tasks at most. Each is busy for about three iterations of the loop, and eight sockets are
#: accepted in one: as many as this never wait for each other.
_MOST_TASKS = 32

HandOver = Callable[[Connection, socket.socket], Coroutine[Any, Any, None]]


class HandingOver:
    """The tasks that hand sockets over, one after the other each; they end with :meth:`close`.

    :param hand_over: does it for one socket.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hand_over: HandOver) -> None:
        self._loop = loop
        self._hand_over = hand_over
        self._sockets: deque[tuple[Connection, socket.socket]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        #: The tasks that have nothing to do, and what each waits for.
        self._idle: dict[asyncio.Task[None], asyncio.Future[None]] = {}
        self._closing = False

    def add(self, connection: Connection, sock: socket.socket) -> None:
        """Hand a socket over as soon as a task can."""
        self._sockets.append((connection, sock))
        if self._idle:
            self._wake()
        elif len(self._tasks) < _MOST_TASKS:
            self._begin()

    async def close(self) -> None:
        """Hand over what has been accepted, then end the tasks."""
        self._closing = True
        busy = self._tasks - self._idle.keys()
        while self._idle:
            self._wake()
        if busy:
            await asyncio.wait(busy)

    def _wake(self) -> None:
        _, waiter = self._idle.popitem()
        if not waiter.done():  # it is when the task was cancelled
            waiter.set_result(None)

    def _begin(self) -> None:
        task = self._loop.create_task(self._work())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._idle.pop(task, None)
        # The task has failed at one of them, or the program has cancelled all that there are.
        if self._sockets and not (self._closing and task.cancelled()):
            self._begin()

    async def _work(self) -> None:
        task = asyncio.current_task(self._loop)
        assert task is not None, "only called as one"
        while True:
            while self._sockets:
                await self._hand_over(*self._sockets.popleft())
            if self._closing:
                return
            waiter = self._loop.create_future()
            self._idle[task] = waiter
            await waiter
