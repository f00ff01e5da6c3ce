"""A 2.0.2 server that obeys the command ``order``, and reports on standard output.

Arguments: port, and ``quick`` for a keepalive of fractions of a second instead of 30 s.
"""

import json
import sys
import threading

import hisock

PORT = int(sys.argv[1])
QUICK = sys.argv[2:] == ["quick"]

server = hisock.HiSockServer(("127.0.0.1", PORT), keepalive=False)


def report(event, *values):
    sys.stdout.write(json.dumps([event, *values]) + "\n")  # one write, for several threads


def plain(value):
    return value.hex() if isinstance(value, bytes) else value


class QuickEvent(threading.Event):
    """2.0.2 waits 30 s between keepalives, and as long for the answers."""

    def wait(self, timeout=None):
        report("keepalive waits", len(server.clients), len(server._unresponsive_clients))
        return super().wait(0.4)


if QUICK:
    server._keepalive_event = QuickEvent()
    threading.Thread(target=server._keepalive_thread, daemon=True).start()


def handle(kind):
    def handler(client, message):
        report("got " + kind, client.name, type(message).__name__, plain(message))
        server.send_client(client, kind, message)

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
    server.on(kind)(handler)


for each in ("bytes", "str", "int", "float", "list", "dict", "untyped", "bool"):
    handle(each)


@server.on("give_bool")
def on_give_bool(client):
    server.send_client(client, "true", True)
    server.send_client(client, "false", False)
    server.send_client(client, "none", None)


@server.on("join")
def on_join(client):
    report("join", list(client.ip), client.name, client.group)


@server.on("leave")
def on_leave(client):
    report("leave", list(client.ip), client.name, client.group)


@server.on("name_change")
def on_name_change(client, old, new):
    report("name_change", client.name, old, new)


@server.on("group_change")
def on_group_change(client, old, new):
    report("group_change", client.group, old, new)


@server.on("*")
def on_anything(client, command, message):
    report("*", client.name, command, plain(message))


@server.on("order")
def on_order(client, words: list):
    order, *arguments = words
    if order == "all":
        server.send_all_clients(*arguments)
    elif order == "group":
        server.send_group(*arguments)
    elif order == "client":
        server.send_client(*arguments)
    elif order == "kick":
        name, force = arguments
        server.disconnect_client(name, force=force, call_func=True)
    elif order == "kick all":
        server.disconnect_all_clients()


report("ready")
server.start()
