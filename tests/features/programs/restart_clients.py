"""Many clients that reconnect and call without a pause, and what became of them.

Arguments: port, number of clients. Prints ``all in``, and ``all back`` each time that all of them
have come back and been answered.
"""

import asyncio
import sys
from collections import Counter

import hisock

PORT, NUMBER = int(sys.argv[1]), int(sys.argv[2])
backs: Counter[str] = Counter()


async def play(client: hisock.AsyncHiSockClient, name: str) -> None:
    """Call for as long as the client is there; count the first answer after each loss."""
    lost = False
    number = 0
    while not client.closed:
        number += 1
        try:
            assert await client.call("double", number, int, timeout=30) == 2 * number
        except hisock.ConnectionLost:
            lost = True
            await asyncio.sleep(0.05)
            continue
        if lost:
            lost = False
            backs[name] += 1
            if min(backs.values()) == backs[name] and len(backs) == NUMBER:
                print("all back", backs[name], flush=True)
        await asyncio.sleep(0.02)
    print("gone", name, repr(client.ended_by if hasattr(client, "ended_by") else ""), flush=True)


async def main() -> None:
    reconnect = hisock.Reconnect(initial=0.05, maximum=0.5)
    clients = []
    for number in range(NUMBER):
        name = f"client {number}"
        client = await hisock.async_connect(("127.0.0.1", PORT), name, reconnect=reconnect)
        clients.append(asyncio.create_task(play(client, name)))
    print("all in", flush=True)
    await asyncio.gather(*clients)


asyncio.run(main())
