"""A server that runs out of descriptors. Tells the processor time that it spends."""

from __future__ import annotations

import logging
import resource
import sys
from typing import Any

import hisock
from hisock._runtime import loops

LIMIT = 64
HARD_LIMIT = 4 * LIMIT


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)
    resource.setrlimit(resource.RLIMIT_NOFILE, (HARD_LIMIT, HARD_LIMIT))
    loop: Any = sys.argv[1]
    certificate = sys.argv[2]
    tls = None if certificate == "plain" else (certificate, certificate)
    server = hisock.ThreadedHiSockServer(
        ("127.0.0.1", 0), loop=loop, ssl=tls, announce="none", hello_timeout=60
    )
    server.on("ping")(lambda client, message: server.send_client(client, "pong", message))
    server.start()
    # The server has raised the limit as far as it may.
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, HARD_LIMIT))
    print(f"port {server.addr[1]} of {loops.loop_name(loop)}", flush=True)
    for line in sys.stdin:
        if line.strip() == "cpu":
            used = resource.getrusage(resource.RUSAGE_SELF)
            print(f"cpu {used.ru_utime + used.ru_stime:.3f}", flush=True)
        elif line.strip() == "room":
            resource.setrlimit(resource.RLIMIT_NOFILE, (HARD_LIMIT, HARD_LIMIT))
        else:
            break
    server.close()


if __name__ == "__main__":
    main()
