"""How calls are measured: 500 in flight, then one at a time, each for SECONDS."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

IN_FLIGHT = 500
MESSAGE = b"x" * 64


async def measured(call: Callable[[], Awaitable[Any]]) -> None:
    """Print calls a second, and microseconds of one alone."""
    seconds = float(sys.argv[2])
    for _ in range(100):
        assert len(await call()) == len(MESSAGE)
    rate, cpu = await _run(call, IN_FLIGHT, seconds)
    alone, _ = await _run(call, 1, seconds)
    print(json.dumps({"rate": rate, "client_us": cpu, "alone_us": 1e6 / alone}))


async def _run(
    call: Callable[[], Awaitable[Any]], callers: int, seconds: float
) -> tuple[float, float]:
    count = 0
    began, used = time.perf_counter(), time.process_time()
    end = began + seconds

    async def go_on() -> None:
        nonlocal count
        while time.perf_counter() < end:
            await call()
            count += 1

    await asyncio.gather(*(go_on() for _ in range(callers)))
    took = time.perf_counter() - began
    return count / took, (time.process_time() - used) / count * 1e6
