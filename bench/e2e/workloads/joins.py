"""Joins a second: TCP connection, handshake or hello, and one echo there and back, 64 at a time."""

from __future__ import annotations

from ..contenders import MODERN_PEERS, OURS, Contender
from .base import Bench, Measurement, Workload


def _joins(bench: Bench, contender: Contender) -> Measurement:
    with bench.serving(contender) as server:
        result = bench.generate(contender, server, "joins", conns=bench.settings.clients)
    return Measurement(result["rate"], result)


JOINS = Workload(
    name="joins",
    title="Joins: 2,000 clients, hello or handshake and one echo each, announcements off",
    unit="joins/s",
    better="more",
    references=("picows", "websockets"),
    contenders=(*OURS, *MODERN_PEERS, "floor-uvloop"),
    measure=_joins,
    columns=(("server_cpu", "server CPU"),),
)
