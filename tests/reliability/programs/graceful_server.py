"""A server that gives its handlers time when it gets SIGTERM, and none when it gets SIGINT."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import hisock


def main() -> None:
    loop: Any = sys.argv[1]
    server = hisock.HiSockServer(("127.0.0.1", 0), loop=loop)
    signal.signal(signal.SIGTERM, lambda number, frame: server.close(timeout=60))

    @server.on("hold")
    async def hold(client: hisock.ClientInfo) -> None:
        server.send_client(client, "began")
        try:
            await server.wait_for("go on")
        except asyncio.CancelledError:
            print("cancelled", flush=True)
            raise
        server.send_client(client, "held")

    print(f"port {server.addr[1]}", flush=True)
    try:
        server.start()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print("after start", flush=True)


if __name__ == "__main__":
    main()
