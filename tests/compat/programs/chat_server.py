"""A chat: rooms are groups."""

import sys

from hisock import start_server

server = start_server(("127.0.0.1", int(sys.argv[1])))


@server.on("join")
def join(clt):
    print(f"* {clt.name} enters {clt.group}")
    server.send_group(clt.group, "notice", f"{clt.name} entered")


@server.on("leave")
def leave(clt):
    print(f"* {clt.name} leaves {clt.group}")
    if clt.group is not None:
        server.send_group(clt.group, "notice", f"{clt.name} left")


@server.on("say")
def say(clt, text: str):
    print(f"<{clt.name}@{clt.group}> {text}")
    server.send_group(clt, "said", {"from": clt.name, "text": text})


@server.on("shout")
def shout(clt, text: str):
    server.send_all_clients("said", {"from": clt.name, "text": text.upper()})


@server.on("whisper")
def whisper(clt, message: dict):
    try:
        server.send_client(message["to"], "said", {"from": clt.name, "text": message["text"]})
    except Exception:
        server.send_client(clt, "notice", f"there is no {message['to']}")


@server.on("group_change")
def group_change(clt, old: str, new: str):
    server.send_group(old, "notice", f"{clt.name} went to {new}")
    server.send_group(new, "notice", f"{clt.name} came from {old}")


print("ready")
server.start()
