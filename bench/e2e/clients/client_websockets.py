# mypy: disable-error-code="import-not-found"
"""The clients of websockets, without compression and pings. Usage: client_websockets.py KIND ROLE

KIND is sync (its threading client) or uvloop (its asyncio client).
"""

import asyncio
import contextlib
import sys

from common import BATCH, BOTS, MESSAGE, PORT, ROLE, WAVE, ready
from websockets.asyncio import client as on_loop
from websockets.exceptions import ConnectionClosed
from websockets.sync import client as in_threads

URL = f"ws://127.0.0.1:{PORT}/"


def sync() -> None:
    with in_threads.connect(URL, compression=None, ping_interval=None) as connection:
        while ROLE == "received":
            for _ in range(BATCH):
                connection.recv()
            connection.send(MESSAGE)
        while ROLE == "sent":
            connection.recv()
            for _ in range(BATCH):
                connection.send(MESSAGE)
        while True:
            connection.send(MESSAGE)
            connection.recv()


async def one() -> None:
    async with on_loop.connect(URL, compression=None, ping_interval=None) as connection:
        while ROLE == "received":
            for _ in range(BATCH):
                await connection.recv()
            await connection.send(MESSAGE)
        while ROLE == "sent":
            await connection.recv()
            for _ in range(BATCH):
                await connection.send(MESSAGE)
        while True:
            await connection.send(MESSAGE)
            await connection.recv()


async def echo(connection: on_loop.ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in connection:
            await connection.send(message)


async def bot() -> asyncio.Task[None]:
    connection = await on_loop.connect(URL, compression=None, ping_interval=None)
    return asyncio.create_task(echo(connection))


async def swarm() -> None:
    tasks = [await bot()]
    for start in range(1, BOTS, WAVE):
        tasks += await asyncio.gather(*(bot() for _ in range(min(WAVE, BOTS - start))))
    await asyncio.wait(tasks)


with contextlib.suppress(ConnectionClosed):
    if sys.argv[1] == "sync":
        ready("websockets")
        sync()
    else:
        import uvloop

        ready("websockets", "uvloop")
        uvloop.run(swarm() if ROLE == "swarm" else one())
