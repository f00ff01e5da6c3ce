"""A move as it travels, what a player has heard, and how long it took."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

#: room, player, sequence, flags, time sent (ns of ``perf_counter``), x, y: 32 bytes.
MOVE: Final = struct.Struct("<IIIIqff")
#: Flag of the move after which a player makes no other.
LAST: Final = 1
#: Flag of the first move of a player whose connection was cut by the kill and who is back.
RETURNED: Final = 2

#: The field that is played on.
WIDTH: Final = 640.0
HEIGHT: Final = 480.0

#: Latencies are counted in steps of this many nanoseconds.
STEP_NS: Final = 10_000


class Move(NamedTuple):
    """One move of one player.

    :ivar room: the number of the room it was made in.
    :ivar player: the number of the player, unique in the whole game.
    :ivar sequence: 0 for a player's first move, one more for each.
    :ivar flags: ``LAST``, ``RETURNED``, both or 0.
    :ivar sent: when, in nanoseconds of :func:`time.perf_counter_ns`; the processes of one machine
        share that clock.
    """

    room: int
    player: int
    sequence: int
    flags: int
    sent: int
    x: float
    y: float

    def pack(self) -> bytes:
        return MOVE.pack(*self)


def wander(player: int, sequence: int) -> tuple[float, float]:
    """Where a simulated player is at that move: on a curve of its own, inside the field."""
    turn = sequence * (0.018 + 0.003 * (player % 5))
    x = math.sin(turn + 2.4 * player) + 0.35 * math.sin(2.3 * turn + player)
    y = math.cos(0.8 * turn + 1.7 * player) + 0.35 * math.cos(1.9 * turn + 3.1 * player)
    return WIDTH * (0.5 + x / 2.9), HEIGHT * (0.5 + y / 2.9)


class Ledger:
    """What one player has heard from each member of its room, itself included.

    :param members: the numbers of all players in the room.
    :ivar heard: moves that arrived in order, those of a gap not counted.
    :ivar disordered: moves that came a second time, or after a later one.
    :ivar misdirected: moves of players who are not in the room.
    :ivar cut: moves that are missing because a connection was cut: those between the last one heard
        before and the first one heard after, of the player or of the one whose connection it was.
    """

    def __init__(self, members: Iterable[int]) -> None:
        self._next = dict.fromkeys(members, 0)
        self._playing = set(self._next)
        self.heard = 0
        self.disordered = 0
        self.misdirected = 0
        self.cut = 0
        self._unheard: set[int] = set()

    def note(self, player: int, sequence: int, flags: int) -> None:
        """Write down one move."""
        expected = self._next.get(player)
        if expected is None:
            self.misdirected += 1
        elif sequence < expected:
            self.disordered += 1
        else:
            if flags & RETURNED or player in self._unheard:
                self.cut += sequence - expected
                self._unheard.discard(player)
            self._next[player] = sequence + 1
            self.heard += 1
            if flags & LAST:
                self._playing.discard(player)

    def was_cut(self) -> None:
        """The player is back after its connection was cut: what it missed is not lost."""
        self._unheard = set(self._next)

    @property
    def missing(self) -> int:
        """Moves that were skipped. One lost at the very end is not known of yet."""
        return sum(self._next.values()) - self.heard - self.cut

    @property
    def complete(self) -> bool:
        """Whether the last move of everybody has arrived."""
        return not self._playing


class Histogram:
    """How many latencies fell into each step of :data:`STEP_NS`."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, nanoseconds: Iterable[int]) -> None:
        self._counts.update(value // STEP_NS for value in nanoseconds)

    def merge(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Add the counts that another process took, as :meth:`pairs` gives them."""
        for step, count in pairs:
            self._counts[step] += count

    def pairs(self) -> list[tuple[int, int]]:
        return list(self._counts.items())

    def percentile(self, share: float) -> float | None:
        """The latency in milliseconds that this share of all does not exceed.

        :param share: above 0, at most 1: 0.99 for p99.
        :returns: the upper end of a step, ``None`` when nothing was counted.
        """
        wanted = share * self._counts.total()
        reached = 0
        for step in sorted(self._counts):
            reached += self._counts[step]
            if reached >= wanted:
                return (step + 1) * STEP_NS / 1e6
        return None
