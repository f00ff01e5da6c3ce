import sys
import threading

import hisock

client = hisock.ThreadedHiSockClient(("127.0.0.1", int(sys.argv[1])), name=sys.argv[2])
begun, done = threading.Event(), threading.Event()
sizes = []


@client.on("begin")
def begin():
    begun.set()


@client.on("load")
def load(data: list):
    sizes.append(len(data))
    assert data == list(range(len(data)))
    if len(sizes) == 5:
        print(sizes)
        done.set()
        client.send("enough")


@client.on("force_disconnect")
def out():
    done.set()


client.start()
begun.wait(60)
if sys.argv[2] == "sender":
    for size in range(1000, 6000, 1000):  # 2.0.2 takes no more than one recv() gives
        client.send("load", list(range(size)))
done.wait(60)
print("end")
