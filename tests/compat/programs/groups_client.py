import sys

import hisock

client = hisock.connect(("127.0.0.1", int(sys.argv[1])), name="ann", group="red")


@client.on("welcome")
def on_welcome(me: dict):
    print("welcome", me["name"], me["group"])
    client.change_name("anna")


@client.on("renamed")
def on_renamed(name: str):
    print("renamed", name)
    client.change_group("blue")


@client.on("moved")
def on_moved(text: str):
    print(text)
    client.send("tell_group", "hello blue")


@client.on("told")
def on_told(text: str):
    print(text)
    client.send("who_is_in", "blue")


@client.on("members")
def on_members(names: list):
    print("members", names)
    if names:
        client.send("who_is_in", "red")
    else:
        client.close()


client.start()
print("over")
