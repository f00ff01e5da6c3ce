# mypy: disable-error-code="import-not-found"
"""Calls of python-socketio's asyncio client, on uvloop. Usage: calling_socketio.py PORT SECONDS"""

import sys

import socketio
import uvloop
from calling import MESSAGE, measured


async def main() -> None:
    sio = socketio.AsyncClient(reconnection=False)
    await sio.connect(f"http://127.0.0.1:{sys.argv[1]}", transports=["websocket"])
    await measured(lambda: sio.call("called", MESSAGE.decode()))
    await sio.disconnect()


uvloop.run(main())
