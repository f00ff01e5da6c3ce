"""Lists and kicks clients."""

import sys

import hisock
from hisock.utils import ClientNotFound, GroupNotFound

server = hisock.start_server(("127.0.0.1", int(sys.argv[1])))


@server.on("join")
def on_join(client):
    if client.name == "boss":
        server.send_client(client, "go")


@server.on("leave")
def on_leave(client):
    print("leave", client.name)
    server.send_all_clients("gone", client.name)


@server.on("report")
def on_report(client):
    print("count", len(server), len(server.clients))
    print("names", sorted(server.get_all_clients("name")))
    print("groups", sorted(set(server.get_all_clients("group"))))
    reds = server.get_all_clients(lambda info: info["group"] == "red")
    print("red", sorted(info["name"] for info in reds))
    print("everybody", sorted(info["name"] for info in server.get_all_clients()))
    print("ips", len({hisock.iptup_to_str(ip) for ip in server.get_all_clients("ip")}))
    print("group", sorted(info["name"] for info in server.get_group("red")))
    info = server.get_client("ann")
    print("found", info["name"], info["group"], server.get_client(info["ip"])["name"])
    try:
        server.get_group("purple")
    except GroupNotFound:
        print("no such group")
    try:
        server.get_client(("127.0.0.1", 1))
    except ClientNotFound:
        print("no such client")
    print("address", server.get_addr() == ("127.0.0.1", int(sys.argv[1])))
    server.send_client(client, "reported", [info["name"] for info in server.get_all_clients()])


@server.on("kick")
def on_kick(client, name: str):
    server.disconnect_client(name, call_func=True)


@server.on("kick_quietly")
def on_kick_quietly(client, name: str):
    server.disconnect_client(server.get_client(name)["ip"], force=False, call_func=False)
    server.send_client(client, "quiet")


@server.on("shut_down")
def on_shut_down(client):
    server.disconnect_all_clients(force=False)


print("ready")
server.start()
