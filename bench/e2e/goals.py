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


def _cost(
    workload: str, key: str, ours: str, reference: str, of: str = ""
) -> Callable[[Outcomes], float | None]:
    """A detail of ours, by one of the reference, or by its figure."""
    return lambda outcomes: outcomes[workload].ratio(ours, reference, key, of)


def _more(workload: str, ours: str, reference: str) -> Callable[[Outcomes], float | None]:
    """By how much the figure of ours is above that of the reference."""

    def measured(outcomes: Outcomes) -> float | None:
        rows = outcomes[workload].rows
        value, of = rows[ours].median, rows[reference].median
        return None if value is None or of is None else value - of

    return measured


WEB = "hisock-web"
SNIFFED = "hisock-sniffed"


def _single(reference: str) -> Callable[[Outcomes], float | None]:
    """A round trip over a WebSocket, by that of another."""
    return _cost("web", "single_us", WEB, reference, "single_us")


def _tls(key: str) -> Callable[[Outcomes], float | None]:
    """A detail of connections over TLS, by that of picows."""
    return _cost("tls", key, "hisock", "picows", key)


GOALS: tuple[Goal, ...] = (
    Goal("pipelined", "x floor-c", "≥", 0.40, 0.55, _ratio("pipelined", "floor-c")),
    Goal(
        "pipelined",
        "Python core x compiled",
        "≥",
        0.45,
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
    Goal("players", "x C relay", "≥", 0.8, None, _ratio("players", "floor-relay")),
    Goal("large", "x floor-asyncio", "≥", 0.8, 0.9, _ratio("large", "floor-asyncio")),
    Goal("memory", "KiB/client", "≤", 6, 3, _value("memory")),
    Goal("joins", "joins/s", "≥", 5000, 10000, _value("joins")),
    Goal("scale", "cost, turns of 1", "≤", 1.3, 1.1, _value("scale")),
    Goal("scale", "cost, turns of 16", "≤", 1.3, 1.1, _detail("scale", "batched")),
    Goal("fairness", "p99 ms", "≤", 25, None, _value("fairness")),
    Goal("typed", "x picows", "≥", 6, None, _ratio("typed", "picows")),
    Goal("typed-roundtrip", "x picows", "≤", 0.9, None, _ratio("typed-roundtrip", "picows")),
    Goal("calls", "x socketio", "≥", 8, None, _ratio("calls", "socketio")),
    Goal(
        "calls",
        "alone x socketio",
        "≤",
        0.33,
        None,
        _cost("calls", "alone_us", "hisock", "socketio", "alone_us"),
    ),
    Goal("handlers", "calls/s", "≥", 400_000, None, _value("handlers")),
    Goal("arrivals", "joins/s", "≥", 5000, None, _value("arrivals")),
    Goal("storm", "settled s", "≤", 3, None, _value("storm")),
    Goal("storm", "p99 ms of others", "≤", 100, None, _detail("storm", "p99_ms")),
    Goal("tls", "single x picows", "≤", 1.0, None, _ratio("tls", "picows")),
    Goal("tls", "memory x picows", "≤", 1.0, None, _tls("memory")),
    Goal("tls", "join x picows", "≤", 1.0, None, _tls("join_ms")),
    Goal("tls-many", "x picows", "≤", 1.0, None, _ratio("tls-many", "picows")),
    Goal(
        "tls-many",
        "move x picows",
        "≤",
        1.0,
        None,
        _cost("tls-many", "move_us", "hisock", "picows", "move_us"),
    ),
    Goal("web", "x picows", "≤", 0.35, None, _ratio("web", "picows", WEB)),
    Goal("web", "batched x TCP", "≤", 1.5, None, _cost("web", "batched_ns", WEB, "hisock")),
    Goal(
        "web", "single x TCP", "≤", 1.2, None, _cost("web", "single_us", WEB, "hisock", "single_us")
    ),
    Goal(
        "web",
        "single x picows",
        "≤",
        1.3,
        None,
        _cost("web", "single_us", WEB, "picows", "single_us"),
    ),
    Goal(
        "web",
        "engine websockets x websockets",
        "≤",
        0.3,
        None,
        _ratio("web", "websockets", "hisock-web-websockets"),
    ),
    Goal("web", "sniffer x TCP", "≤", 1.05, None, _ratio("web", "hisock", SNIFFED)),
    Goal("web-players", "x TCP", "≤", 1.35, None, _ratio("web-players", "hisock", WEB)),
    Goal("web-players", "x picows", "≤", 1.0, None, _ratio("web-players", "picows", WEB)),
    Goal("web-idle", "KiB/client", "≤", 12, None, _value("web-idle", WEB)),
    Goal("web-idle", "sniffer, KiB more", "≤", 0.2, None, _more("web-idle", SNIFFED, "hisock")),
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
