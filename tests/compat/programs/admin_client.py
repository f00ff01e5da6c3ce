"""The boss; the others just wait to be kicked."""

import sys

from hisock.client import connect

name, group = sys.argv[2:4]
client = connect(("127.0.0.1", int(sys.argv[1])), name=name, group=group)


@client.on("go")
def on_go():
    client.send("report")


@client.on("reported")
def on_reported(names: list):
    print("reported", sorted(names))
    client.send("kick", "ann")


@client.on("gone")
def on_gone(who: str):
    print("gone", who)
    if name == "boss":
        client.send("kick_quietly", "bert")


@client.on("quiet")
def on_quiet():
    print("quiet")
    client.send("shut_down")


@client.on("force_disconnect")
def on_force_disconnect():
    print("forced out")


print("ready")
client.start()
print("over")
