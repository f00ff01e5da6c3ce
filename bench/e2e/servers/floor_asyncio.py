"""The floor in Python: an `asyncio.Protocol` that writes back what it received, unparsed.

Usage: floor_asyncio.py asyncio|uvloop
"""

import asyncio
import json
import sys
from importlib.metadata import version


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP only
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def main(versions: dict[str, str]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "versions": versions}), flush=True)
    await server.serve_forever()


if sys.argv[1] == "uvloop":
    import uvloop

    uvloop.run(main({"uvloop": version("uvloop")}))
else:
    asyncio.run(main({}))
