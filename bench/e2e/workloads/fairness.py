"""Round trips of a hundred clients while one more sends as fast as it can."""

from __future__ import annotations

from ..contenders import OTHER_LOOPS, OURS, PEERS, Contender
from .base import Bench, Measurement, Workload


def _fairness(bench: Bench, contender: Contender) -> Measurement:
    with bench.serving(contender) as server:
        calm = bench.generate(contender, server, "fairness", size=64, conns=100)
    with bench.serving(contender) as server:
        flooded = bench.generate(contender, server, "fairness", size=64, conns=100, flood=True)
    details = {
        "calm_p99_ms": calm["p99_us"] / 1e3,
        "median_ms": flooded["median_us"] / 1e3,
        "worst_ms": flooded["worst_us"] / 1e3,
        "round_trips": flooded["round_trips"],
        "flood_rate": flooded["flood_rate"],
    }
    return Measurement(flooded["p99_us"] / 1e3, details)


FAIRNESS = Workload(
    name="fairness",
    title="Fairness: 100 clients do round trips while one floods; p99 of the hundred",
    unit="ms",
    better="less",
    references=("picows", "websockets"),
    contenders=(*OURS, *PEERS),
    measure=_fairness,
    columns=(
        ("calm_p99_ms", "p99 ms, no flood"),
        ("round_trips", "round trips/s"),
        ("flood_rate", "flood msg/s"),
    ),
    only_full=frozenset((*OTHER_LOOPS, "hisock-python")),
)
