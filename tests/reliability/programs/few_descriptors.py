"""A server that runs out of descriptors. Tells what it spends on it."""

from __future__ import annotations

import logging
import os
import resource
import sys
from typing import Any

import hisock
from hisock import loops

LIMIT = 64


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    loop: Any = sys.argv[1]
    certificate = sys.argv[2]
    tls = None if certificate == "plain" else (certificate, certificate)
    server = hisock.ThreadedHiSockServer(
        ("127.0.0.1", 0), loop=loop, ssl=tls, announce="none", hello_timeout=60
    )
    server.on("ping")(lambda client, message: server.send_client(client, "pong", message))
    server.start()
    print(f"port {server.addr[1]} of {loops.loop_name(loop)}", flush=True)
    for line in sys.stdin:
        if line.strip() == "cpu":
            times = os.times()
            print(f"cpu {times.user + times.system:.3f}", flush=True)
        else:
            break
    server.close()


if __name__ == "__main__":
    main()
