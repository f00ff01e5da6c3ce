"""A 2.0.2 client that obeys lines of JSON on standard input, and reports on standard output.

Arguments: port, name, group (``-`` for none).
"""

import json
import sys
import threading

import hisock

PORT = int(sys.argv[1])
NAME, GROUP = (None if text == "-" else text for text in sys.argv[2:4])

client = hisock.connect(("127.0.0.1", PORT), name=NAME, group=GROUP)


def report(event, *values):
    sys.stdout.write(json.dumps([event, *values]) + "\n")  # one write, for several threads


def plain(value):
    return value.hex() if isinstance(value, bytes) else value


def handle(kind):
    def handler(message):
        report("got " + kind, type(message).__name__, plain(message))

    handler.__annotations__["message"] = {
        "bytes": bytes,
        "str": str,
        "int": int,
        "float": float,
        "list": list,
        "dict": dict,
        "untyped": None,
        # What peers of 2.0.2 send for a bool is text that its own bool cast refuses.
        "bool": str,
    }[kind]
    client.on(kind)(handler)


for each in ("bytes", "str", "int", "float", "list", "dict", "untyped", "bool"):
    handle(each)


@client.on("nothing")
def on_nothing():
    report("got nothing")


@client.on("client_connect")
def on_connect(info):
    report("client_connect", list(info.ip), info.name, info.group)


@client.on("client_disconnect")
def on_disconnect(info):
    report("client_disconnect", list(info.ip), info.name, info.group)


@client.on("force_disconnect")
def on_force_disconnect():
    report("force_disconnect")


@client.on("*")
def on_anything(command, message):
    report("*", command, plain(message))


def obey():
    for line in sys.stdin:
        order, *arguments = json.loads(line)
        if order == "send":
            command, kind, value = arguments
            client.send(command, bytes.fromhex(value) if kind == "bytes" else value)
        elif order == "recv":
            command, kind = arguments
            value = client.recv(command, {"str": str, "int": int, "dict": dict}[kind])
            report("received", value)
        elif order == "raw":
            client._send_raw(*arguments)
        elif order == "change_name":
            client.change_name(*arguments)
        elif order == "change_group":
            client.change_group(*arguments)
        elif order == "close":
            client.close()
            report("closed")


report("ready", list(client.get_client_addr()))
threading.Thread(target=obey, daemon=True).start()
client.start()
report("ended")
