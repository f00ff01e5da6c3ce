"""Waiting in coroutines: for a frame, or for the reply to a call, that the loop delivers."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

from hisock.binding import cast_message
from hisock.casting import Codec
from hisock.receiving import frame_timed_out
from hisock.waiting import Frame, Waiting, Wanted

T = TypeVar("T")


class LoopWaiter(Generic[T]):
    """One coroutine that waits for one thing, on the running loop."""

    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self._loop.create_future()

    def deliver(self, value: T) -> bool:
        """Hand it over, on the loop's thread; ``False`` when the coroutine has given up."""
        if self._future.done():
            return False
        self._future.set_result(value)
        return True

    def fail(self, exc: BaseException) -> None:
        """Tell it, from any thread, that nothing will come."""
        try:
            self._loop.call_soon_threadsafe(self._fail, exc)
        except RuntimeError:
            pass  # the loop has ended, and the coroutine with it

    def _fail(self, exc: BaseException) -> None:
        if not self._future.done():
            self._future.set_exception(exc)

    async def wait(self, timeout: float | None) -> T:
        """What it waits for, once it is there.

        :raises TimeoutError: it did not come within ``timeout`` seconds.
        """
        try:
            return await asyncio.wait_for(self._future, timeout)
        except asyncio.TimeoutError:
            raise TimeoutError from None


async def await_frame(
    waiting: Waiting, codec: Codec, wanted: Wanted, cast_to: Any, timeout: float | None
) -> Any:
    """Wait for a frame that nobody handles, and cast its message.

    :raises TimeoutError: none came within ``timeout`` seconds.
    :raises InvalidTypeCast: the message does not fit ``cast_to``.
    """
    cast = codec.cast_for(cast_to)
    waiter: LoopWaiter[Frame] = LoopWaiter()
    waiting.add(wanted, waiter)
    try:
        frame = await waiter.wait(timeout)
    except TimeoutError:
        raise frame_timed_out(wanted[0], timeout) from None
    finally:
        waiting.remove(wanted, waiter)
    return cast_message(frame.command, cast, frame.message)
