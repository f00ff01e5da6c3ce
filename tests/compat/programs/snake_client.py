"""Its cache of one message is what the callback looks at; it closes when its snake has gone down."""

import sys
import threading

import hisock

ip, port = hisock.utils.ipstr_to_tup(f"127.0.0.1:{sys.argv[1]}")
hisock.utils.validate_ipv4((ip, port), require_port=True)
client = hisock.client.ThreadedHiSockClient((ip, port), name=sys.argv[2], group=None, cache_size=1)
seen = set()
started, arrived = threading.Event(), threading.Event()


def callback():
    if client.cache:
        seen.add(client.cache[0].command)


@client.on("game_started")
def game_started():
    client.send("turn", "down")
    client.send("request_data")
    started.set()


@client.on("update_data")
def update_data(data: dict):
    mine = [each for each in data["players"] if each["identifier"].startswith(sys.argv[2])]
    if mine and mine[0]["pos"][1] >= 3 and "update_data" in seen:
        arrived.set()


client.start(callback=callback)
print("started", started.wait(60))
print("arrived", arrived.wait(60))
client.close(emit_leave=True)
print("end")
