"""Large messages, each passed on to all others; addresses are compared and sent to as dicts have them."""

import sys

import hisock

server = hisock.HiSockServer(("127.0.0.1", int(sys.argv[1])))
loads = []


@server.on("join")
def on_join(_):
    if len(server.get_all_clients()) == 2:
        server.send_all_clients("begin")


@server.on("load")
def on_load(client, data: list):
    loads.append(len(data))
    for other in server.get_all_clients():
        if other["ip"] != client.ip:
            server.send_client(other["ip"], "load", data)


@server.on("enough")
def on_enough(client):
    print("loads", sorted(set(loads)))
    server.disconnect_all_clients()
    server.close()


print("ready")
server.start()
