"""Players held by one server process: rooms of 20, 20 moves a second each, relayed to the room.

Held is a number of players at which p99 of the latency, from the moment a move was due to its
delivery, is at most 50 ms and no delivery is missing. The search walks a ladder of about 7 % a
step; a number is not held when it fails twice, each time with a server of its own, or when it fails
by far.
"""

from __future__ import annotations

from ..contenders import OTHER_LOOPS, RELAYERS, Contender
from ..places import BenchError
from .base import Bench, Measurement, Workload

ROOM = 20
RATE = 20
LIMIT_MS = 50.0
TRIES = 2
#: A number at which p99 was higher than this is not tried again.
HOPELESS_MS = 4 * LIMIT_MS
MOST = 12_000


def ladder() -> list[int]:
    """Numbers of players, whole rooms, each about 7 % above the last."""
    steps = [ROOM]
    while steps[-1] < MOST:
        steps.append(max(steps[-1] + ROOM, round(steps[-1] * 1.07 / ROOM) * ROOM))
    return steps


def held(result: dict[str, float]) -> bool:
    return not result["gave_up"] and not result["missing"] and 0 <= result["p99_ms"] <= LIMIT_MS


class _Search:
    def __init__(self, bench: Bench, contender: Contender) -> None:
        self.bench = bench
        self.contender = contender
        self.steps = ladder()
        self.seen: dict[int, dict[str, float] | None] = {}

    def _try(self, players: int) -> dict[str, float] | None:
        settings = self.bench.settings
        for _ in range(TRIES):
            with self.bench.serving(self.contender, "move") as server:
                try:
                    result = self.bench.generate(
                        self.contender,
                        server,
                        "players",
                        conns=players,
                        size=32,
                        rate=RATE,
                        room_size=ROOM,
                        seconds=settings.player_seconds,
                        warmup=0.5,
                    )
                except BenchError:
                    continue  # it fell over, or never took all of them in
            if held(result):
                return result
            if result["p99_ms"] > HOPELESS_MS:
                break
        return None

    def holds(self, step: int) -> bool:
        if step < 0:
            return True
        if step >= len(self.steps):
            return False
        if step not in self.seen:
            self.seen[step] = self._try(self.steps[step])
        return self.seen[step] is not None

    def run(self) -> Measurement:
        start = self.bench.levels.get(self.contender.name, self.contender.players)
        first = min(range(len(self.steps)), key=lambda i: abs(self.steps[i] - start))
        stride = 1
        if self.holds(first):
            low, high = first, first + stride
            while self.holds(high):
                stride *= 2
                low, high = high, high + stride
        else:
            low, high = first - stride, first
            while not self.holds(low):
                stride *= 2
                low, high = low - stride, low
        while high - low > 1:
            middle = (low + high) // 2
            if self.holds(middle):
                low = middle
            else:
                high = middle
        result = self.seen.get(low)
        if result is None:
            return Measurement(0)
        self.bench.levels[self.contender.name] = self.steps[low]
        result["deliveries_s"] = self.steps[low] * RATE * ROOM
        return Measurement(self.steps[low], result)


def _players(bench: Bench, contender: Contender) -> Measurement:
    return _Search(bench, contender).run()


PLAYERS = Workload(
    name="players",
    title="Players held: rooms of 20, 20 moves/s each (32 B) to the room, p99 ≤ 50 ms, none lost",
    unit="players",
    better="more",
    references=("floor-relay", "picows", "websockets"),
    contenders=RELAYERS,
    measure=_players,
    columns=(
        ("p99_ms", "p99 ms"),
        ("deliveries_s", "deliveries/s"),
        ("server_cpu", "server CPU"),
        ("generator_cpu", "generator CPU"),
    ),
    weight="search",
    only_full=OTHER_LOOPS,
)
