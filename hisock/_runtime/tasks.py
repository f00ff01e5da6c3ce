"""Async handlers as tasks of a loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any

from hisock._core.jobs import ENDS_PROGRAM, Job
from hisock.exceptions import ConnectionLost


class Tasks:
    """The async handlers that are running on one loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_finish: Callable[[], None] | None = None

    def start(
        self,
        coroutine: Coroutine[Any, Any, Any],
        job: Job,
        begun: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        """Run a handler.

        :param begun: called if the handler did not end at once.
        :param ended: called when it has ended, if ``begun`` was called.
        """
        try:
            task = _start(coroutine)
        except ENDS_PROGRAM as exc:
            job.finish(None, exc)
            raise
        if task.done():
            _finish(task, job)
            return
        self._tasks.add(task)
        begun()
        if job.runs is not None:
            job.runs(task.cancel)
        task.add_done_callback(_Running(self, job.running(), ended))

    def add(self, task: asyncio.Task[Any]) -> None:
        """Add a task that is to be cancelled together with the handlers."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def run_ended(self, task: asyncio.Task[Any], job: Job, ended: Callable[[], None]) -> None:
        """A handler that was started has ended."""
        try:
            _finish(task, job)
        finally:
            ended()
            self._ended(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not self._tasks and self._on_finish is not None:
            self._on_finish()
            self._on_finish = None

    @property
    def busy(self) -> bool:
        """Whether any is running."""
        return bool(self._tasks)

    def when_finished(self, func: Callable[[], None]) -> None:
        """Call a function once none is running."""
        self._on_finish = func

    def cancel_all(self) -> list[asyncio.Task[Any]]:
        """Cancel all tasks except the caller's, and return them."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        return tasks

    async def cancel(self, timeout: float) -> None:
        """Cancel all, and wait up to ``timeout`` seconds for their ends."""
        tasks = self.cancel_all()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)


class _Running:
    """What is called when a task ends: one object, as there may be thousands of tasks.

    Each object that a task keeps makes Python's full garbage collections longer, and these hold the
    loop up. A closure over the same three would be eight objects.
    """

    __slots__ = ("_ended", "_job", "_tasks")

    def __init__(self, tasks: Tasks, job: Job, ended: Callable[[], None]) -> None:
        self._tasks = tasks
        self._job = job
        self._ended = ended

    def __call__(self, task: asyncio.Task[Any]) -> None:
        self._tasks.run_ended(task, self._job, self._ended)


def _start(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Begin a task at once, which saves an iteration of the loop for a handler that never waits."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12) and loop.get_task_factory() is None:
        return asyncio.Task(coroutine, loop=loop, eager_start=True)
    return begin_at_once(coroutine, loop)


def begin_at_once(
    coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop
) -> asyncio.Task[Any]:
    """Do what ``eager_start`` does, which Python 3.12 was the first to have.

    A task schedules its first step when it is made, in the context that it has copied. That step
    is taken here instead, so that the handler runs in a real task from its first line on. Other
    calls of ``call_soon`` may come in between, by a finalizer or a signal handler.
    """
    attributes = getattr(loop, "__dict__", None)
    if attributes is None or "call_soon" in attributes or loop.get_task_factory() is not None:
        return loop.create_task(coroutine)
    steps: list[Callable[[], Any]] = []
    usual = loop.call_soon

    def call_soon(func: Any, *args: Any, context: Context | None = None) -> Any:
        if context is not None:
            try:
                if func.__self__.get_coro() is coroutine:
                    steps.append(partial(context.run, func, *args))
                    return None
            except AttributeError:  # not the step of a task
                pass
        return usual(func, *args, context=context)

    attributes["call_soon"] = call_soon
    try:
        task = asyncio.Task(coroutine, loop=loop)
    finally:
        del attributes["call_soon"]
    if steps:  # else the loop does not look into its __dict__, and will take the step
        _take(steps[0], task, loop)
    return task


def _take(
    step: Callable[[], Any], task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop
) -> None:
    """Take the first step of a task, also where another task is running."""
    around = asyncio.current_task(loop)
    if around is not None:  # two tasks of a loop cannot run inside of each other
        asyncio.tasks._leave_task(loop, around)
    try:
        step()
    except BaseException:
        if task.done():  # not if something else than the handler was interrupted
            task.exception()  # it is raised here, so that nobody has to be told that it was not
        raise
    finally:
        if around is not None:
            asyncio.tasks._enter_task(loop, around)


def _finish(task: asyncio.Task[Any], job: Job) -> None:
    if task.cancelled():
        if job.done is not None:
            job.done(None, ConnectionLost(f"the handler of {job.command!r} was cancelled"))
        return
    exc = task.exception()
    job.finish(None if exc is not None else task.result(), exc)
