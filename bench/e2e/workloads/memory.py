"""Resident memory that a server takes for an idle client that joined and exchanged one message."""

from __future__ import annotations

from ..contenders import MODERN_PEERS, OURS, Contender
from .base import Bench, Measurement, Workload


def idle(bench: Bench, contender: Contender) -> Measurement:
    """KiB of an idle client, and the server's time for its join."""
    clients = bench.settings.clients
    with bench.serving(contender) as server:
        holding = bench.holding(contender, server, "joins", conns=clients, hold=True)
        with holding as next_line:
            next_line()  # the first hundred are in: code is loaded, pools are warm
            before = server.resident()
            next_line()
            after = server.resident()
            joins = next_line()
    growth = (after - before) / clients / 1024
    cpu = joins["server_cpu"] * joins["seconds"] / clients * 1e6
    return Measurement(growth, {"server_mib": after / 2**20, "join_us": cpu})


MEMORY = Workload(
    name="memory",
    title="Memory of an idle joined client: growth of the server's RSS over 2,000 of them",
    unit="KiB/client",
    better="less",
    references=("websockets", "picows"),
    contenders=(*OURS, *MODERN_PEERS),
    measure=idle,
    columns=(("server_mib", "server MiB at the end"),),
    weight="long",
)
