# mypy: disable-error-code="import-not-found", disallow-subclassing-any=False
"""The client of picows, its core API, on uvloop. Usage: client_picows.py ROLE"""

import asyncio

import picows
import uvloop
from common import BATCH, BOTS, MESSAGE, PORT, ROLE, WAVE, ready
from picows import WSFrame, WSListener, WSMsgType, WSTransport

URL = f"ws://127.0.0.1:{PORT}/"


class Received(WSListener):
    count = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        frame.get_payload_as_bytes()
        self.count += 1
        if self.count == BATCH:
            self.count = 0
            transport.send(WSMsgType.BINARY, MESSAGE)


class Sent(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        for _ in range(BATCH):
            transport.send(WSMsgType.BINARY, MESSAGE)


class Echo(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        if ROLE == "roundtrip":
            transport.send(WSMsgType.BINARY, MESSAGE)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send(WSMsgType.BINARY, frame.get_payload_as_bytes())


async def bot() -> WSTransport:
    listener = {"received": Received, "sent": Sent}.get(ROLE, Echo)
    transport, _ = await picows.ws_connect(listener, URL)
    return transport


async def main() -> None:
    bots = [await bot()]
    for start in range(1, BOTS if ROLE == "swarm" else 1, WAVE):
        bots += await asyncio.gather(*(bot() for _ in range(min(WAVE, BOTS - start))))
    await bots[0].wait_disconnected()


ready("picows", "aiofastnet", "uvloop")
uvloop.run(main())
