"""Rooms that the server puts clients into: a client may be in many at once.

    python examples/many_rooms.py

Groups, of which a client has one and chooses it itself, are in ``rooms.py``.
"""

import hisock

server = hisock.ThreadedHiSockServer(("127.0.0.1", 0))


@server.on("enter")
def enter(client: hisock.ClientInfo, room: str) -> list[str | None]:
    """Called with the name of a room; the reply is who was there before."""
    there = [someone.name for someone in server.get_room(room)]
    server.join_room(client, room)
    server.send_room(room, "notice", f"{client.name} enters the {room}", exclude=client)
    return there


@server.on("leave room")
def leave_room(client: hisock.ClientInfo, room: str) -> list[str]:
    server.leave_room(client, room)
    server.send_room(room, "notice", f"{client.name} leaves the {room}")
    return sorted(server.rooms(client))


@server.on("say")
def say(client: hisock.ClientInfo, text: str) -> int:
    """In all rooms that the client is in. The reply is how many heard it, oneself included."""
    return sum(
        server.send_room(room, "notice", f"{client.name} in the {room}: {text}")
        for room in sorted(server.rooms(client))
    )


def visitor(name: str) -> hisock.HiSockClient:
    client = hisock.connect(server.addr, name)

    @client.on("notice")
    def notice(text: str) -> None:
        print(f"{name} hears: {text}", flush=True)

    return client


with server:
    server.start()
    with visitor("Ada") as ada, visitor("Bob") as bob:
        ada.call("enter", "kitchen")
        ada.call("enter", "cellar")
        print("Bob finds", bob.call("enter", "kitchen", list[str]), flush=True)
        print("heard by", ada.call("say", "Hello?", int), flush=True)
        print("Bob is in", bob.call("leave room", "kitchen", list[str]), flush=True)
        # What Ada has not heard yet, she hears while she waits for this answer.
        print("Ada is still in", ada.call("leave room", "kitchen", list[str]), flush=True)
