"""Echo on one connection: many small messages in batches, and single large ones."""

from __future__ import annotations

from ..contenders import ECHOERS, Contender
from .base import Bench, Measurement, Workload


def _pipelined(bench: Bench, contender: Contender) -> Measurement:
    with bench.serving(contender) as server:
        result = bench.generate(contender, server, "pipelined", size=64, batch=512)
    result["server_ns"] = result["server_cpu"] * result["seconds"] / result["messages"] * 1e9
    return Measurement(result["rate"], result)


def _large(bench: Bench, contender: Contender) -> Measurement:
    with bench.serving(contender) as server:
        result = bench.generate(contender, server, "pipelined", size=1024 * 1024, batch=1)
    result["server_us"] = result["server_cpu"] * result["seconds"] / result["messages"] * 1e6
    return Measurement(result["megabytes"], result)


PIPELINED = Workload(
    name="pipelined",
    title="Pipelined echo: 64 B, one connection, batches of 512",
    unit="messages/s",
    better="more",
    references=("floor-c", "picows"),
    contenders=ECHOERS,
    measure=_pipelined,
    columns=(("server_ns", "server ns/msg"), ("server_cpu", "server CPU")),
)

LARGE = Workload(
    name="large",
    title="Large echo: 1 MiB, one connection, one at a time",
    unit="MB/s",
    better="more",
    references=("floor-asyncio", "picows"),
    contenders=tuple(name for name in ECHOERS if name != "hisock202"),
    measure=_large,
    columns=(("server_us", "server µs/msg"), ("server_cpu", "server CPU")),
)
