"""A client that answers ``ping`` and never answers ``wait``, until it is killed.

Arguments: port, name.
"""

import sys
import threading

import hisock

client = hisock.connect(("127.0.0.1", int(sys.argv[1])), name=sys.argv[2])


@client.on("ping")
def ping() -> str:
    return "pong"


@client.on("wait", threaded=True)
def wait() -> None:
    sys.stdout.write("waits\n")  # one write, for several threads
    sys.stdout.flush()
    threading.Event().wait()


print("ready", flush=True)
client.start()
