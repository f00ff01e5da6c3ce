"""Round trip of one 64-byte message at a time.

Nothing runs at the same time here: while one side works the other waits. So on one core the figure
is what the two sides compute; on two cores it is that plus waking the other core twice, which on
many virtual machines costs several times more than any server does. Both are measured; the first
one tells servers apart.

Such a machine may also take half as long or twice as long for a second or a minute. So all servers
run at the same time, each is asked for a tenth of a second in its turn, and the ratios are taken
within each turn.
"""

from __future__ import annotations

from dataclasses import replace

from ..contenders import ECHOERS, OTHER_LOOPS, Contender
from .base import Bench, Turns, Workload


def _two_cores(bench: Bench, contender: Contender) -> Turns:
    return bench.round_trips(contender, size=64)


def _one_core(bench: Bench, contender: Contender) -> Turns:
    return _two_cores(replace(bench, shared_core=True), contender)


ONE_CORE = Workload(
    name="roundtrip",
    title="Round trip: 64 B, one at a time, median; server and generator on the same core",
    unit="µs",
    better="less",
    references=("floor-uvloop", "picows"),
    contenders=ECHOERS,
    hold=_one_core,
    columns=(("p99_us", "p99 µs"),),
)

TWO_CORES = Workload(
    name="roundtrip-apart",
    title="Round trip: 64 B, one at a time, median; server and generator on two cores",
    unit="µs",
    better="less",
    references=("floor-uvloop", "picows"),
    contenders=ECHOERS,
    hold=_two_cores,
    columns=(("p99_us", "p99 µs"), ("server_cpu", "server CPU")),
    only_full=frozenset((*OTHER_LOOPS, "hisock-python", "hisock202", "socketio")),
)
