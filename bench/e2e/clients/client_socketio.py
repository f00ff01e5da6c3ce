# mypy: disable-error-code="import-not-found", disallow-untyped-decorators=False
"""The asyncio client of python-socketio, over aiohttp, on uvloop. Usage: client_socketio.py ROLE"""

import socketio
import uvloop
from common import BATCH, MESSAGE, PORT, ROLE, ready

TEXT = MESSAGE.decode()
sio = socketio.AsyncClient(reconnection=False)
count = 0


@sio.event
async def echo(message: str) -> None:
    global count
    if ROLE == "sent":
        for _ in range(BATCH):
            await sio.emit("echo", TEXT)
        return
    if ROLE == "received":
        count += 1
        if count < BATCH:
            return
        count = 0
    await sio.emit("echo", TEXT)


async def main() -> None:
    await sio.connect(f"http://127.0.0.1:{PORT}", transports=["websocket"])
    if ROLE == "roundtrip":
        await sio.emit("echo", TEXT)
    await sio.wait()


ready("python-socketio", "python-engineio", "aiohttp", "uvloop")
uvloop.run(main())
