"""The world of the arena: where players are, and which of them see each other. No network here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

SIZE = 2000.0
SPEED = 240.0  # a second
SIGHT = 400.0
START = 140.0  # from the middle at most: so near that everybody who starts there sees the others
TICKS_PER_SECOND = 20


class Seen(msgspec.Struct):
    """A player, as others see it."""

    name: str
    x: float
    y: float


class View(msgspec.Struct):
    """What one player sees at one moment: the seconds since the arena began, and who is near."""

    time: float
    me: Seen
    others: list[Seen]


class Steer(msgspec.Struct):
    """Where a player wants to go: -1, 0 or 1 in each direction."""

    dx: int
    dy: int

    def __post_init__(self) -> None:
        if not (self.dx in (-1, 0, 1) and self.dy in (-1, 0, 1)):
            raise ValueError("dx and dy are -1, 0 or 1")


@dataclass
class Player:
    name: str = ""
    x: float = SIZE / 2
    y: float = SIZE / 2
    dx: int = 0
    dy: int = 0

    def seen(self) -> Seen:
        return Seen(self.name, round(self.x, 1), round(self.y, 1))


@dataclass
class Arena:
    """One room full of players.

    Players lie in cells as wide as one can see, so that those who are near are found in nine
    cells, however many there are elsewhere: that is the area of interest.
    """

    time: float = 0.0
    _all: dict[int, Player] = field(default_factory=dict)
    _cells: dict[tuple[int, int], list[Player]] = field(default_factory=dict)

    def enter(self, player: Player) -> None:
        self._all[id(player)] = player
        self._arrange()

    def leave(self, player: Player) -> None:
        self._all.pop(id(player), None)
        self._arrange()

    def __len__(self) -> int:
        return len(self._all)

    def step(self, seconds: float) -> None:
        self.time += seconds
        for player in self._all.values():
            player.x = min(max(player.x + player.dx * SPEED * seconds, 0.0), SIZE)
            player.y = min(max(player.y + player.dy * SPEED * seconds, 0.0), SIZE)
        self._arrange()

    def view(self, player: Player) -> View:
        others = [other.seen() for other in self._near(player) if other is not player]
        return View(round(self.time, 3), player.seen(), others)

    def _near(self, player: Player) -> Iterator[Player]:
        column, row = _cell(player)
        for x in range(column - 1, column + 2):
            for y in range(row - 1, row + 2):
                for other in self._cells.get((x, y), ()):
                    if (other.x - player.x) ** 2 + (other.y - player.y) ** 2 <= SIGHT**2:
                        yield other

    def _arrange(self) -> None:
        self._cells.clear()
        for player in self._all.values():
            self._cells.setdefault(_cell(player), []).append(player)


def _cell(player: Player) -> tuple[int, int]:
    return int(player.x // SIGHT), int(player.y // SIGHT)
