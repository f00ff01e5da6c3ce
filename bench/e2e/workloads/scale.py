"""Cost of a message at 5,000 connections against at 10, in the server's CPU time.

Ten turns are on their way in both cases. A turn is one message (nearly all of it the kernel's work
per packet and connection, so the floors grow as well), or 16 messages in one piece.
"""

from __future__ import annotations

from ..contenders import OTHER_LOOPS, OURS, Contender
from .base import Bench, Measurement, Workload

FEW = 10


def _scale(bench: Bench, contender: Contender) -> Measurement:
    cost: dict[int, dict[str, float]] = {}
    for conns in (FEW, bench.settings.crowd):
        with bench.serving(contender) as server:
            cost[conns] = bench.generate(
                contender, server, "spread", size=64, conns=conns, outstanding=10, batch=16
            )
    few, many = cost[FEW], cost[bench.settings.crowd]
    details = {
        "ns_few": few["server_ns_per_message"],
        "ns_many": many["server_ns_per_message"],
        "batched_ns_few": few["batched_server_ns_per_message"],
        "batched_ns_many": many["batched_server_ns_per_message"],
        "batched": many["batched_server_ns_per_message"] / few["batched_server_ns_per_message"],
        "rate_few": few["rate"],
        "rate_many": many["rate"],
    }
    return Measurement(many["server_ns_per_message"] / few["server_ns_per_message"], details)


SCALE = Workload(
    name="scale",
    title="Server CPU per message at 5,000 connections against at 10",
    unit="times as much",
    better="less",
    references=("floor-c", "floor-uvloop"),
    contenders=(*OURS, "picows", "websockets", "floor-c", "floor-uvloop"),
    measure=_scale,
    columns=(
        ("ns_few", "ns/msg at 10"),
        ("ns_many", "at 5,000"),
        ("batched", "turns of 16: times"),
        ("batched_ns_few", "ns/msg at 10"),
        ("batched_ns_many", "at 5,000"),
    ),
    weight="long",
    only_full=frozenset((*OTHER_LOOPS, "hisock-python")),
)
