"""Rooms are groups: a client hears what happens in the room that it is in.

    python examples/rooms.py

Server and clients run in one program here, each client on a connection of its own.
"""

import hisock

server = hisock.ThreadedHiSockServer(("127.0.0.1", 0))


@server.on("group_change")
def moved(client: hisock.ClientInfo, old: str, new: str) -> None:
    server.send_group(old, "notice", f"{client.name} went to the {new}")
    server.send_group(new, "notice", f"{client.name} came from the {old}")


@server.on("say")
def say(client: hisock.ClientInfo, text: str) -> None:
    server.send_group(client, "notice", f"{client.name}: {text}")


@server.on("who is where")
def who_is_where(client: hisock.ClientInfo) -> None:
    rooms: dict[str | None, list[str | None]] = {}
    for someone in server.get_all_clients():
        rooms.setdefault(someone.group, []).append(someone.name)
    server.send_client(client, "rooms", rooms)


def enter(name: str, room: str) -> hisock.HiSockClient:
    client = hisock.connect(server.addr, name, room)

    @client.on("notice")
    def notice(text: str) -> None:
        print(f"{name} hears: {text}", flush=True)

    return client


def rooms_seen_by(client: hisock.HiSockClient) -> dict[str, list[str]]:
    """Ask for the rooms. While it waits for the answer, the client hears its notices."""
    client.send("who is where")
    rooms: dict[str, list[str]] = client.recv("rooms", dict[str, list[str]], timeout=5)
    return rooms


with server:
    server.start()
    with enter("Ada", "kitchen") as ada, enter("Bob", "kitchen") as bob:
        print(rooms_seen_by(bob), flush=True)
        bob.send("say", "Tea, anyone?")
        bob.change_group("garden")
        bob.send("say", "Lovely out here.")
        print(rooms_seen_by(bob), flush=True)
        # Ada is still in the kitchen. She hears Bob's first remark and that he left.
        rooms_seen_by(ada)
