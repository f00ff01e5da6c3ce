"""Async handlers begin at once, in tasks like any other, also before Python 3.12."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from core.driving import HandRunner

from features.loops import LOOPS
from hisock._core.jobs import Job
from hisock._runtime.tasks import Tasks, begin_at_once

value: ContextVar[int] = ContextVar("value", default=0)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Any:
    """Runs a function as a callback of a loop, and then what it returns."""
    loop = LOOPS[request.param]()

    def run(func: Callable[[asyncio.AbstractEventLoop], Any]) -> Any:
        called = loop.create_future()

        def call() -> None:
            try:
                called.set_result(func(loop))
            except BaseException as exc:
                called.set_exception(RuntimeError(repr(exc)))

        loop.call_soon(call)
        result = loop.run_until_complete(asyncio.wait_for(called, 10))
        if asyncio.isfuture(result):
            return loop.run_until_complete(asyncio.wait_for(result, 10))
        return result

    yield run
    loop.close()


def test_one_that_never_waits_ends_at_once(run: Any) -> None:
    tasks = []

    async def handle() -> int:
        tasks.append(asyncio.current_task())
        value.set(1)
        return 5

    def begin(loop: asyncio.AbstractEventLoop) -> None:
        task = begin_at_once(handle(), loop)
        assert (task.done(), tasks, asyncio.current_task()) == (True, [task], None)
        assert (task.result(), value.get(), task.get_loop()) == (5, 0, loop)
        assert "call_soon" not in vars(loop)

    run(begin)


def test_one_that_waits_goes_on_in_the_same_task_and_context(run: Any) -> None:
    async def handle() -> bool:
        task = asyncio.current_task()
        value.set(2)
        await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.sleep(0.001), 5)
        return asyncio.current_task() is task and value.get() == 2

    assert run(lambda loop: begin_at_once(handle(), loop)) is True


def test_one_that_waits_can_be_cancelled(run: Any) -> None:
    async def handle() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cancelled"
        return "not"

    def begin(loop: asyncio.AbstractEventLoop) -> Any:
        task = begin_at_once(handle(), loop)
        assert not task.done()
        assert task.cancel()
        return task

    assert run(begin) == "cancelled"


def test_what_ends_the_program_is_raised_by_the_beginning(run: Any) -> None:
    async def handle() -> None:
        raise SystemExit(3)

    def begin(loop: asyncio.AbstractEventLoop) -> None:
        with pytest.raises(SystemExit):
            begin_at_once(handle(), loop)
        assert "call_soon" not in vars(loop)

    run(begin)


def test_a_handler_that_ends_the_program_has_ended(run: Any) -> None:
    async def handle() -> None:
        raise SystemExit(3)

    def begin(loop: asyncio.AbstractEventLoop) -> None:
        tasks, ends = Tasks(), list[Any]()
        job = Job(HandRunner(), "x", None, None, lambda result, exc: ends.append(exc))
        with pytest.raises(SystemExit):
            tasks.start(handle(), job, print, print)
        assert ([type(end) for end in ends], tasks.busy) == ([SystemExit], False)

    run(begin)


def test_what_ends_the_program_while_a_handler_begins_to_wait_is_raised_too(run: Any) -> None:
    class Interrupted:
        """What a handler waits for, where Ctrl-C is pressed just when it begins to."""

        _asyncio_future_blocking = False

        def __await__(self) -> Generator[Any, Any, None]:
            self._asyncio_future_blocking = True
            yield self

        def get_loop(self) -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        def add_done_callback(self, *args: Any, **options: Any) -> None:
            raise KeyboardInterrupt

    async def handle() -> None:
        await Interrupted()

    def begin(loop: asyncio.AbstractEventLoop) -> None:
        with pytest.raises(KeyboardInterrupt):
            begin_at_once(handle(), loop)

    run(begin)


def test_what_others_schedule_while_the_task_is_made_waits_for_its_turn(run: Any) -> None:
    order: list[str] = []

    async def handle(name: str) -> None:
        order.append(name)

    def begin(loop: asyncio.AbstractEventLoop) -> Any:
        later = loop.create_future()

        def intrude() -> bool:
            """Called by the task that is made, as a finalizer may be at any moment."""
            del vars(loop)["get_debug"]
            loop.call_soon(order.append, "callback", context=copy_context())
            begin_at_once(handle("other task"), loop)
            loop.call_soon(later.set_result, None)
            return False

        vars(loop)["get_debug"] = intrude
        task = begin_at_once(handle("task"), loop)
        assert (task.done(), order) == (True, ["task"])
        return later

    run(begin)
    assert order == ["task", "callback", "other task"]


def test_the_task_factory_of_the_loop_is_asked(run: Any) -> None:
    made: list[asyncio.Task[Any]] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        made.append(asyncio.Task(coroutine, loop=loop, **options))
        return made[-1]

    async def handle() -> int:
        return 5

    def begin(loop: asyncio.AbstractEventLoop) -> Any:
        loop.set_task_factory(factory)
        try:
            Tasks().start(handle(), Job(HandRunner(), "x", None, None), print, print)
        finally:
            loop.set_task_factory(None)
        return made[0]

    assert run(begin) == 5


def test_inside_of_a_task_another_one_begins_at_once_too(run: Any) -> None:
    tasks = []

    async def inner() -> None:
        tasks.append(asyncio.current_task())

    async def outer() -> bool:
        before = asyncio.current_task()
        task = begin_at_once(inner(), asyncio.get_running_loop())
        await asyncio.sleep(0)
        return task.done() and tasks == [task] and asyncio.current_task() is before

    assert run(lambda loop: begin_at_once(outer(), loop)) is True
