"""The goals that this project set itself, against the run at hand; a missed one is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from .running import Outcome

Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True)
class Goal:
    workload: str
    text: str
    sign: Literal["≥", "≤"]
    reach: float
    further: float | None
    """What to go for after that."""
    measured: Callable[[Outcomes], float | None]

    def met(self, value: float) -> bool:
        return value >= self.reach if self.sign == "≥" else value <= self.reach


def _ratio(
    workload: str, reference: str, ours: str = "hisock"
) -> Callable[[Outcomes], float | None]:
    return lambda outcomes: outcomes[workload].ratio(ours, reference)


def _value(workload: str, ours: str = "hisock") -> Callable[[Outcomes], float | None]:
    return lambda outcomes: outcomes[workload].rows[ours].median


def _detail(workload: str, key: str, ours: str = "hisock") -> Callable[[Outcomes], float | None]:
    return lambda outcomes: outcomes[workload].rows[ours].detail(key)


GOALS: tuple[Goal, ...] = (
    Goal("pipelined", "x floor-c", "≥", 0.40, 0.55, _ratio("pipelined", "floor-c")),
    Goal(
        "pipelined",
        "Python core x compiled",
        "≥",
        0.35,
        0.5,
        _ratio("pipelined", "hisock", "hisock-python"),
    ),
    Goal("roundtrip", "x floor-uvloop", "≤", 1.10, None, _ratio("roundtrip", "floor-uvloop")),
    Goal("roundtrip", "x picows", "≤", 1.0, None, _ratio("roundtrip", "picows")),
    Goal(
        "roundtrip-apart",
        "x floor-uvloop",
        "≤",
        1.10,
        None,
        _ratio("roundtrip-apart", "floor-uvloop"),
    ),
    Goal("broadcast", "x picows", "≥", 6, 10, _ratio("broadcast", "picows")),
    Goal("players", "players", "≥", 2400, 4000, _value("players")),
    Goal("large", "x floor-asyncio", "≥", 0.8, 1.0, _ratio("large", "floor-asyncio")),
    Goal("memory", "KiB/client", "≤", 6, 3, _value("memory")),
    Goal("joins", "joins/s", "≥", 5000, 10000, _value("joins")),
    Goal("scale", "cost, turns of 1", "≤", 1.3, 1.1, _value("scale")),
    Goal("scale", "cost, turns of 16", "≤", 1.3, 1.1, _detail("scale", "batched")),
    Goal("fairness", "p99 ms", "≤", 25, None, _value("fairness")),
)


def check(outcomes: Outcomes) -> list[tuple[Goal, float]]:
    """Those goals that this run says something about, with what it says."""
    found = []
    for goal in GOALS:
        if goal.workload not in outcomes:
            continue
        try:
            value = goal.measured(outcomes)
        except KeyError:  # hisock itself did not take part
            continue
        if value is not None:
            found.append((goal, value))
    return found
