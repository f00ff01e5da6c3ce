"""Calls between clients: to one of the same process, and to one of another process of a cluster.

A server calls two of its clients in turn, one that is connected to it and one that is connected to
the other server, so that both are measured in the same moments.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics

import hisock

from .cluster_servers import Kind, served

CALLS = 1000
KINDS = [
    Kind("local links", processes=2),
    Kind("NATS", processes=2, broker="nats-newest"),
    Kind("Redis", processes=2, broker="redis"),
]


def rows_of_calls() -> str:
    """A table of the medians."""
    lines = ["| | p50 in the process, µs | p50 to another, µs | ratio |", "|---|---|---|---|"]
    for kind in KINDS:
        with served(kind) as (servers, _):
            near, far = asyncio.run(_measure(servers.ports))
        lines.append(f"| {kind.name} | {near:.0f} | {far:.0f} | {far / near:.2f} |")
    return "\n".join(lines)


async def _measure(ports: list[int]) -> tuple[float, float]:
    async with contextlib.AsyncExitStack() as stack:
        for name, port in (("near", ports[0]), ("far", ports[1]), ("caller", ports[0])):
            client = await hisock.async_connect(("127.0.0.1", port), name)
            await stack.enter_async_context(client)
            client.on("answer")(_answer)
        # The other process has to know of its client first.
        while not await client.call("knows", "far", type=bool):  # noqa: ASYNC110 - it is another's
            await asyncio.sleep(0.01)
        await client.call("times", 100, type=list)
        near, far = await client.call("times", CALLS, type=list, timeout=60)
        return statistics.median(near), statistics.median(far)


def _answer(message: bytes) -> bytes:
    return message
