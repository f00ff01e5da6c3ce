"""What every client program is given: ROLE as its last argument, the port and the size of a batch.

ROLE: "received" handles a batch and sends one message; "sent" gets one and sends a batch, "batched"
the same by what the library has for many at once; "roundtrip" sends the next message when the reply
has come, in a handler where the library has those, else like "recv", which awaits it in line;
"swarm" is a thousand clients that send back what comes.
"""

import json
import os
import sys
from importlib.metadata import version

ROLE = sys.argv[-1]
PORT = int(os.environ["BENCH_PORT"])
BATCH = int(os.environ["BENCH_BATCH"])
BOTS = int(os.environ["BENCH_BOTS"])
#: Bots that connect at once, after the first.
WAVE = 50
MESSAGE = b"x" * 64


def ready(*packages: str) -> None:
    """Everything is imported: what is measured begins."""
    versions = {name: version(name) for name in packages}
    print(json.dumps({"port": PORT, "versions": versions}), flush=True)
