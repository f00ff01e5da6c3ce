"""Event loops for tests: tests that are coroutines, and what they wait with."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from support import Events
from support.events import PATIENCE

LOOPBACK = ("127.0.0.1", 0)
T = TypeVar("T")

AsyncTest = Callable[..., Coroutine[Any, Any, None]]
NewLoop = Callable[[], asyncio.AbstractEventLoop]


def _loops() -> dict[str, NewLoop]:
    loops: dict[str, NewLoop] = {"asyncio": asyncio.new_event_loop}
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        loops["uvloop"] = uvloop.new_event_loop
    return loops


LOOPS = _loops()


def run_on(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, and fail for every error that the loop was left alone with."""
    unhandled: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    try:
        result = loop.run_until_complete(main)
        loop.run_until_complete(_cancel_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    assert not unhandled
    return result


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=PATIENCE)


def on_loops(test: AsyncTest) -> Any:
    """Make a test of an ``async def``, run on every kind of event loop that is installed."""

    @functools.wraps(test)
    def run(*args: Any, new_loop: str, **kwargs: Any) -> None:
        run_on(LOOPS[new_loop](), asyncio.wait_for(test(*args, **kwargs), 3 * PATIENCE))

    signature = inspect.signature(test)
    ours = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), ours]
    )
    return pytest.mark.parametrize("new_loop", LOOPS)(run)


def on_one_loop(test: AsyncTest) -> Callable[..., None]:
    """The same on asyncio's own loop only, for what takes long or does not depend on the loop."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_on(asyncio.new_event_loop(), asyncio.wait_for(test(*args, **kwargs), 3 * PATIENCE))

    return run


async def within(awaitable: Any) -> Any:
    """Wait, but not for ever."""
    return await asyncio.wait_for(awaitable, PATIENCE)


class Seen(Events):
    """Events that a coroutine of the same loop waits for."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def add(self, *event: Any) -> None:
        super().add(*event)
        self._more.set()

    async def until(self, predicate: Callable[[list[tuple[Any, ...]]], Any]) -> None:
        async def wait() -> None:
            while not predicate(self.seen):
                self._more.clear()
                await self._more.wait()

        try:
            await within(wait())
        except asyncio.TimeoutError:
            raise AssertionError(f"did not happen; seen: {self.seen}") from None

    async def until_named(self, name: str, count: int = 1) -> tuple[Any, ...]:
        """The ``count``-th event of that name, without the name."""
        await self.until(lambda _: len(self.named(name)) >= count)
        return self.named(name)[count - 1]


async def turns(count: int) -> None:
    """Let the loop go round that many times."""
    for _ in range(count):
        await asyncio.sleep(0)
