"""Messages and calls of people with numbers behind their names, which the clients give themselves."""

import sys
import time

from hisock import HiSockServer

server = HiSockServer(("127.0.0.1", int(sys.argv[1])))
online = []


@server.on("join")
def join(client):
    username = f"{client.name}#{len(online):04}"
    online.append(username)
    server.send_client(client, "discriminator", len(online) - 1)
    server.send_client(client, "online_users", online)
    for other in server.get_all_clients():
        if other["ip"] != client.ip:
            server.send_client(other["ip"], "client_join", username)


@server.on("leave")
def leave(client):
    print("left", client.name)
    online.remove(client.name)
    for other in server.get_all_clients():
        if other["ip"] != client.ip:
            server.send_client(other["ip"], "client_leave", client.name)
    if not online:
        server.close()


@server.on("name_change")
def name_change(_, __, ___):
    pass


@server.on("send_everyone_message")
def everyone(client, text: str):
    server.send_all_clients(
        "recv_everyone_message",
        {"username": client.name, "message": text, "time_sent": time.time()},
    )


@server.on("request_call")
def request_call(client, recipient: str):
    server.send_client(recipient, "incoming_call", client.name)


@server.on("accepted_call")
def accepted_call(client, caller: str):
    server.send_client(caller, "accepted_call", client.name)


@server.on("video_data")
def video_data(_, data: list):
    recipient, picture = data
    if recipient in online:
        server.send_client(recipient, "video_data", picture)


@server.on("end_call")
def end_call(client, recipient: str):
    server.send_client(recipient, "end_call")


print("ready")
server.start()
