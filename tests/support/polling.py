"""Waiting for what nobody announces: what the operating system or an object says of itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from support.events import PATIENCE


def eventually(
    check: Callable[[], Any], what: str = "what is waited for", timeout: float = PATIENCE
) -> Any:
    """Look now and then until something is so.

    :returns: what ``check`` returned, once that is true.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"did not happen within {timeout:g} s: {what}"
        time.sleep(0.005)


async def until(holds: Callable[[], object]) -> None:
    """The same in a coroutine, while the loop goes on."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"did not happen within {PATIENCE:g} s"
        await asyncio.sleep(0.002)
