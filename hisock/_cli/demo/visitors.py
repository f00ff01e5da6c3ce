"""Those who play along in a browser: they walk, and catch the star.

A visitor is a client that has called ``enter``. Its messages are commands of their own, so that the
simulated players, whose moves are counted, are not disturbed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import msgspec

from hisock import ClientInfo, HiSockServer
from hisock._cli.demo.moves import HEIGHT, WIDTH

#: How near to the star catches it.
REACH = 26.0
_NAME_LENGTH = 20


@dataclass
class Visitor:
    """One page.

    :ivar id: 1 for the first, never used again.
    :ivar score: stars that it caught.
    """

    id: int
    name: str
    x: float = WIDTH / 2
    y: float = HEIGHT / 2
    score: int = 0


class Place(msgspec.Struct):
    """Where a visitor says to be; brought into the field by the server."""

    x: float
    y: float


class Visitors:
    """All visitors of a game, and the star that they are after."""

    def __init__(self, server: HiSockServer, seed: int | None = None) -> None:
        self._server = server
        self._all: dict[ClientInfo, Visitor] = {}
        self._entered = 0
        self._random = random.Random(seed)
        self._place_star()
        server.on("enter")(self.enter)
        server.on("walk")(self.walk)
        server.on("ping")(_ping)
        server.on("leave")(self.leave)

    def enter(self, client: ClientInfo) -> dict[str, Any]:
        """The reply to ``enter``: all that a page has to draw."""
        visitor = self._all.get(client)
        if visitor is None:
            self._entered += 1
            name = (client.name or "").strip()[:_NAME_LENGTH] or f"visitor {self._entered}"
            visitor = self._all[client] = Visitor(self._entered, name)
            self._tell("came", visitor)
        return {
            "id": visitor.id,
            "width": WIDTH,
            "height": HEIGHT,
            "star": self._star,
            "visitors": list(self._all.values()),
        }

    def walk(self, client: ClientInfo, place: Place) -> None:
        visitor = self._all.get(client)
        if visitor is None:
            return
        visitor.x = min(max(place.x, 0.0), WIDTH)
        visitor.y = min(max(place.y, 0.0), HEIGHT)
        # Only the newest place matters to a page that is behind.
        message = [visitor.id, visitor.x, visitor.y]
        self._server.send_group(client, "walked", message, latest=f"visitor {visitor.id}")
        x, y = self._star
        if (visitor.x - x) ** 2 + (visitor.y - y) ** 2 <= REACH**2:
            visitor.score += 1
            self._place_star()
            self._tell("caught", {"id": visitor.id, "score": visitor.score, "star": self._star})

    def leave(self, client: ClientInfo) -> None:
        visitor = self._all.pop(client, None)
        if visitor is not None:
            self._tell("went", visitor.id)

    def _place_star(self) -> None:
        self._star = [
            self._random.uniform(0.1 * WIDTH, 0.9 * WIDTH),
            self._random.uniform(0.1 * HEIGHT, 0.9 * HEIGHT),
        ]

    def _tell(self, command: str, message: Any) -> None:
        for client in self._all:
            self._server.send_client(client, command, message)


def _ping(client: ClientInfo) -> None:
    """The reply says how long a message takes there and back."""
