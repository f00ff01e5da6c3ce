"""Bots for the arena: they stroll, and run after the nearest player that they see.

    python examples/arena/bots.py [--count 10] [--room ROOM] [--port PORT] [--seconds S]

A bot is a client like any other, here on asyncio: all of them share one loop.
"""

from __future__ import annotations

import argparse
import asyncio
import random

from world import Steer, View

import hisock

DIRECTIONS = [Steer(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]


def towards(view: View) -> Steer:
    """Any direction, or now and then that of the nearest other player."""
    if not view.others or random.random() < 0.7:
        return random.choice(DIRECTIONS)
    x, y = view.me.x, view.me.y
    nearest = min(view.others, key=lambda other: (other.x - x) ** 2 + (other.y - y) ** 2)
    return Steer(_sign(nearest.x - x), _sign(nearest.y - y))


def _sign(distance: float) -> int:
    return 0 if abs(distance) < 60 else 1 if distance > 0 else -1


async def play(name: str, room: str, port: int, seconds: float) -> int:
    """Play for a while; the number of views that came."""
    views = 0
    newest: View | None = None
    async with hisock.async_connect(("127.0.0.1", port), name) as client:

        @client.on("view")
        def view(view: View) -> None:
            nonlocal newest, views
            newest = view
            views += 1

        await client.call("enter", room)
        for _ in range(round(seconds * 4)):
            await asyncio.sleep(0.25)
            if newest is not None:
                client.send("steer", towards(newest))
    return views


async def main() -> None:
    options = argparse.ArgumentParser(description="Bots for the arena.")
    options.add_argument("--count", type=int, default=10)
    options.add_argument("--room", default="main")
    options.add_argument("--port", type=int, default=5000)
    options.add_argument("--seconds", type=float, default=60)
    given = options.parse_args()
    names = [f"bot {number}" for number in range(1, given.count + 1)]
    views = await asyncio.gather(
        *(play(name, given.room, given.port, given.seconds) for name in names)
    )
    print(f"{len(views)} bots got {sum(views)} views", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
