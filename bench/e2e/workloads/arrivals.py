"""Joins that everybody is told of, as is the default: at a steady number, and as a storm."""

from __future__ import annotations

from ..contenders import OURS, Contender
from .base import Bench, Measurement, Workload

THERE = 1000


def _arrivals(bench: Bench, contender: Contender) -> Measurement:
    with bench.serving(contender, "announced") as server:
        result = bench.generate(contender, server, "arrivals", batch=THERE, conns=1000)
    return Measurement(result["rate"], result)


def _storm(bench: Bench, contender: Contender) -> Measurement:
    with bench.serving(contender, "announced") as server:
        result = bench.generate(
            contender, server, "arrivals", batch=10, conns=bench.settings.crowd, inflight=256
        )
    return Measurement(result["settled_s"], result)


COLUMNS = (("settled_s", "settled s"), ("p99_ms", "p99 ms of others"), ("server_cpu", "server CPU"))

ARRIVALS = Workload(
    name="arrivals",
    title="Announced joins: 1,000 clients join 1,000 others, and all are told of each",
    unit="joins/s",
    better="more",
    references=("picows",),
    # websockets and python-socketio do not get through within the limit of 20 seconds.
    contenders=(*OURS, "picows"),
    measure=_arrivals,
    columns=COLUMNS,
    weight="search",
    # picows takes 12 s on a fast machine, and gets to the limit of time on a slow one.
    only_full=frozenset(("hisock-aiofastnet", "picows")),
)

STORM = Workload(
    name="storm",
    title="Join storm: 5,000 clients come back at once, and all are told of each",
    unit="s",
    better="less",
    references=("picows",),
    contenders=("hisock", "hisock-python"),
    measure=_storm,
    columns=(("rate", "joins/s"), *COLUMNS[1:]),
    weight="long",
)
