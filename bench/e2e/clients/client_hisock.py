# mypy: disable-error-code="import-not-found"
"""The clients of hisock (this repository), on their public API only.

Usage: client_hisock.py blocking|threaded|asyncio|uvloop ROLE
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from common import BATCH, BOTS, MESSAGE, PORT, ROLE, WAVE, ready

import hisock

KIND = sys.argv[1]
ADDRESS = ("127.0.0.1", PORT)
Client = hisock.HiSockClient | hisock.AsyncHiSockClient


def handle(client: Client) -> None:
    """Registers the handler of the role."""
    count = 0

    def received(message: bytes) -> None:
        nonlocal count
        count += 1
        if count == BATCH:
            count = 0
            client.send("echo", MESSAGE)

    def sent(message: bytes) -> None:
        for _ in range(BATCH):
            client.send("echo", MESSAGE)

    def batched(message: bytes) -> None:
        with client.batch():
            sent(message)

    def reply(message: bytes) -> None:
        client.send("echo", message)

    roles = {"received": received, "sent": sent, "batched": batched}
    client.on("echo")(roles.get(ROLE, reply))
    if ROLE == "roundtrip":
        client.send("echo", MESSAGE)


def blocking() -> None:
    client = (hisock.connect if KIND == "blocking" else hisock.threaded_connect)(ADDRESS)
    if ROLE != "recv":
        handle(client)
    if KIND == "threaded" or ROLE != "recv":
        client.start()
    while ROLE == "recv":
        client.send("echo", MESSAGE)
        client.recv("echo")
    if isinstance(client, hisock.ThreadedHiSockClient):
        client.join()


async def on_loop() -> None:
    client = await hisock.async_connect(ADDRESS)
    if ROLE != "recv":
        handle(client)
    while ROLE == "recv":
        client.send("echo", MESSAGE)
        await client.recv("echo")
    await client.wait_closed()


async def bot() -> hisock.AsyncHiSockClient:
    client = await hisock.async_connect(ADDRESS)
    handle(client)
    return client


async def swarm() -> None:
    clients = [await bot()]
    for start in range(1, BOTS, WAVE):
        clients += await asyncio.gather(*(bot() for _ in range(min(WAVE, BOTS - start))))
    await clients[0].wait_closed()


main: Callable[[], Coroutine[Any, Any, None]] = swarm if ROLE == "swarm" else on_loop
if KIND in ("blocking", "threaded"):
    ready("hisock")
    with contextlib.suppress(hisock.ConnectionLost, hisock.ClientDisconnected):
        blocking()
elif KIND == "uvloop":
    import uvloop

    ready("hisock", "uvloop")
    uvloop.run(main())
else:
    ready("hisock")
    asyncio.run(main())
