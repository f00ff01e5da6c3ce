"""The server of the arena.

    python examples/arena/server.py [PORT]

Twenty times a second every arena moves on, and each player is told what is near. ``latest`` keeps
one view for a player with a slow line: the newest.
"""

from __future__ import annotations

import random
import sys

from world import SIZE, START, TICKS_PER_SECOND, Arena, Player, Steer

import hisock
from hisock.routing import Handlers, every, on


class Game(Handlers):
    """Arenas by name. One is made for the first player that enters it."""

    def __init__(self, server: hisock.HiSockServer[Player]) -> None:
        self.server = server
        self.arenas: dict[str, Arena] = {}

    @on("enter")
    def enter(self, client: hisock.ClientInfo, room: str) -> int:
        """The reply to the call: how many are in the arena now."""
        self.quit(client)
        player = self.server.session(client)
        player.name = client.name or client.ip
        player.x, player.y = (SIZE / 2 + random.uniform(-START, START) for _ in range(2))
        arena = self.arenas.setdefault(room, Arena())
        arena.enter(player)
        self.server.join_room(client, room)
        return len(arena)

    @on("steer")
    def steer(self, client: hisock.ClientInfo, wish: Steer) -> None:
        player = self.server.session(client)
        player.dx, player.dy = wish.dx, wish.dy

    @on("quit")
    def quit(self, client: hisock.ClientInfo) -> None:
        self.gone(client)
        for room in self.server.rooms(client):
            self.server.leave_room(client, room)

    @on("leave")
    def gone(self, client: hisock.ClientInfo) -> None:
        """Out of its room already; ``rooms`` still tells which that was."""
        for room in self.server.rooms(client):
            self.arenas[room].leave(self.server.session(client))
            if not len(self.arenas[room]):
                del self.arenas[room]

    @every(1 / TICKS_PER_SECOND)
    def tick(self, seconds: float) -> None:
        for room, arena in self.arenas.items():
            arena.step(seconds)
            for client in self.server.get_room(room):
                view = arena.view(self.server.session(client))
                self.server.send_client(client, "view", view, latest="view")


def make_server(addr: tuple[str, int] | None = None) -> hisock.HiSockServer[Player]:
    server = hisock.HiSockServer(
        addr,
        session=Player,
        unique_names=True,
        announce="none",
        rate_limit=(60, 120),
        max_message_size=4096,
    )
    server.include(Game(server))
    return server


if __name__ == "__main__":
    server = make_server(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 5000))
    print("The arena is at port", server.addr[1], flush=True)
    server.start()
