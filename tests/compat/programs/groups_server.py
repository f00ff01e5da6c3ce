import sys

import hisock
from hisock.utils import ClientInfo

server = hisock.HiSockServer(("127.0.0.1", int(sys.argv[1])))


@server.on("join")
def on_join(client: hisock.ClientInfo):
    print(f"join {client.name} {client.group}")
    assert client.ip_as_str == hisock.iptup_to_str(client.ip)
    assert isinstance(client, ClientInfo)
    server.send_client(client, "welcome", {"name": client["name"], "group": client["group"]})


@server.on("leave")
def on_leave(client: hisock.ClientInfo):
    print(f"leave {client.name} {client.group}")


@server.on("name_change")
def on_name_change(client: hisock.ClientInfo, old_name: str, new_name: str):
    print(f"name {old_name} -> {new_name}, now {client.name}")
    server.send_client(client, "renamed", new_name)


@server.on("group_change")
def on_group_change(client: hisock.ClientInfo, old_group: str, new_group: str):
    print(f"group {old_group} -> {new_group}, now {client.group}")
    server.send_group(new_group, "moved", f"{client.name} is in {new_group}")


@server.on("tell_group")
def on_tell_group(client: hisock.ClientInfo, text: str):
    server.send_group(client, "told", f"{client.name}: {text}")


@server.on("who_is_in")
def on_who_is_in(client: hisock.ClientInfo, group: str):
    try:
        names = sorted(member["name"] for member in server.get_group(group))
    except hisock.utils.GroupNotFound:
        names = []
    server.send_client(client, "members", names)


print("ready")
server.start()
