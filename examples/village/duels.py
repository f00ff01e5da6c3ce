"""The arena: villagers move, and whoever is near another one is hit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from accounts import Village

import hisock
from hisock.routing import Handlers, every, on

STEPS = {"north": (0, -1), "south": (0, 1), "west": (-1, 0), "east": (1, 0)}
SIZE = 10


@dataclass
class Fighter:
    """One of those in the arena."""

    name: str
    x: int
    y: int
    health: int = 3


class Arena(Handlers):
    """The fighters, and the rules.

    :param server: the village.
    """

    prefix = "arena."

    def __init__(self, server: Village) -> None:
        self._server = server
        self.fighters: dict[str, Fighter] = {}
        self.round = 0

    @on("enter")
    def enter(self, client: hisock.ClientInfo) -> Fighter:
        count = len(self.fighters)
        fighter = Fighter(client.name or "", count % SIZE, count // SIZE)
        self.fighters[client.ip] = fighter
        self._server.join_room(client, "fight")
        return fighter

    @on("move")
    def move(
        self, client: hisock.ClientInfo, way: Literal["north", "south", "west", "east"]
    ) -> None:
        fighter = self.fighters[client.ip]
        dx, dy = STEPS[way]
        fighter.x = min(SIZE - 1, max(0, fighter.x + dx))
        fighter.y = min(SIZE - 1, max(0, fighter.y + dy))

    @on("leave")
    def leave(self, client: hisock.ClientInfo) -> None:
        self.fighters.pop(client.ip, None)

    @every(0.5)
    def fight(self) -> None:
        self.round += 1
        for fighter in self.fighters.values():
            if any(self._near(fighter, other) for other in self.fighters.values()):
                fighter.health -= 1
        for ip in [ip for ip, fighter in self.fighters.items() if fighter.health <= 0]:
            fallen = self.fighters.pop(ip)
            self._server.send_room("fight", "arena.fell", fallen.name)
            self._server.leave_room(ip, "fight")
        state = {"round": self.round, "fighters": list(self.fighters.values())}
        self._server.send_room("fight", "arena.state", state, latest="state")

    @staticmethod
    def _near(one: Fighter, other: Fighter) -> bool:
        return one is not other and abs(one.x - other.x) + abs(one.y - other.y) <= 1
