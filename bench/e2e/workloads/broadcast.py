"""One client's messages to a hundred clients, itself included, by whatever addresses all."""

from __future__ import annotations

from ..contenders import RELAYERS, Contender
from .base import Bench, Measurement, Workload


def _broadcast(bench: Bench, contender: Contender) -> Measurement:
    with bench.serving(contender, "all") as server:
        result = bench.generate(contender, server, "broadcast", size=64, conns=100, outstanding=32)
    result["server_ns"] = result["server_cpu"] / result["rate"] * 1e9
    return Measurement(result["rate"], result)


BROADCAST = Workload(
    name="broadcast",
    title="One to 100 clients: 64 B, 32 messages on their way",
    unit="deliveries/s",
    better="more",
    references=("floor-relay", "picows", "websockets"),
    contenders=RELAYERS,
    measure=_broadcast,
    columns=(("server_ns", "server ns/delivery"), ("generator_cpu", "generator CPU")),
)
