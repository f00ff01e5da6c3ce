"""A swarm: many bots in one process, each a client with a connection of its own.

    python examples/swarm.py [HOST PORT] [--bots 1000] [--rate 2] [--seconds 10]

Without an address it starts a server too, in a thread. Each bot moves ``rate`` times a second, and
hears of the moves of the others in its room.
"""

import argparse
import asyncio
import random

import hisock

ROOM = 20
AT_ONCE = 50  # bots that connect at the same time: more only wait for each other


class Bot:
    """A player. A plain handler and no task of its own: that is what keeps a bot cheap."""

    __slots__ = ("client", "heard", "x")

    def __init__(self, client: hisock.AsyncHiSockClient) -> None:
        self.client, self.heard, self.x = client, 0, 0.0
        client.on("moved")(self.moved)

    def moved(self, x: float) -> None:
        self.heard += 1

    def move(self) -> None:
        self.x += random.uniform(-1, 1)
        self.client.send("move", self.x)


async def join(addr: tuple[str, int], count: int) -> list[Bot]:
    bots: list[Bot] = []
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        connecting = (
            hisock.async_connect(addr, f"bot {number}", f"room {number // ROOM}")
            for number in numbers
        )
        bots += [Bot(client) for client in await asyncio.gather(*connecting)]
    return bots


async def play(bots: list[Bot], rate: float, seconds: float) -> int:
    """Let the bots move in turn, spread evenly over time: one task for all of them."""
    loop = asyncio.get_running_loop()
    start, moves = loop.time(), int(len(bots) * rate * seconds)
    for number in range(moves):
        early = start + number / (len(bots) * rate) - loop.time()
        if early > 0:
            await asyncio.sleep(early)
        bots[number % len(bots)].move()
    return moves


async def swarm(addr: tuple[str, int], count: int, rate: float, seconds: float) -> None:
    bots = await join(addr, count)
    print(f"{count} bots are there", flush=True)
    try:
        moves = await play(bots, rate, seconds)
    finally:
        await asyncio.gather(*(bot.client.close() for bot in bots))
    print(f"{moves} moves were made, {sum(bot.heard for bot in bots)} were heard", flush=True)


def make_server() -> hisock.ThreadedHiSockServer:
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), announce="none")

    @server.on("move")
    def move(client: hisock.ClientInfo, x: float) -> None:
        server.send_group(client, "moved", x)

    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", nargs="?")
    parser.add_argument("port", nargs="?", type=int)
    parser.add_argument("--bots", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    work = options.bots, options.rate, options.seconds
    if options.host is not None:
        asyncio.run(swarm((options.host, options.port), *work))
        return
    with make_server() as server:
        server.start()
        asyncio.run(swarm(server.addr, *work))


if __name__ == "__main__":
    main()
