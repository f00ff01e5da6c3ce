"""Awaiting something for a limited time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float | None, awaitable: Awaitable[T]) -> T:
    """Await something for so many seconds, and cancel it when they are over.

    ``asyncio.wait_for`` of Python 3.11 and older loses a cancellation that comes together with the
    result, so that a task which was cancelled goes on.

    :raises asyncio.TimeoutError: it took longer.
    """
    if sys.version_info >= (3, 12):
        return await asyncio.wait_for(awaitable, seconds)
    task = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _cancel(task)
        raise
    if not task.done():
        await _cancel(task)
        if task.cancelled():
            raise asyncio.TimeoutError
    return task.result()


async def _cancel(task: asyncio.Future[T]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # else the loop logs that nobody has asked for it
