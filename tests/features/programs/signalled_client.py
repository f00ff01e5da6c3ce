"""A client that is interrupted, and says goodbye itself. Argument: the port."""

import sys

import hisock

client = hisock.connect(("127.0.0.1", int(sys.argv[1])), "ann")


@client.on("begin")
def on_begin():
    print("running")


try:
    client.start()
    print("after start")
except KeyboardInterrupt:
    print("interrupted", client.closed)
    client.send("question", "still there?")
    print("answer", client.recv("answer", str, timeout=10))
    client.send("bye", "see you")
    client.close()
print("end", client.closed)
