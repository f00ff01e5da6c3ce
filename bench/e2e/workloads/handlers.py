"""What handlers of each sort cost, and calls: one connection, batches of 64 B messages."""

from __future__ import annotations

from ..contenders import Contender
from .base import Bench, Measurement, Workload

SORTS = ("echo", "middleware", "call", "concurrent", "async", "threaded")


def _handlers(bench: Bench, contender: Contender) -> Measurement:
    details: dict[str, float] = {}
    for sort in SORTS:
        options: dict[str, object] = {"call": True} if sort == "call" else {}
        if sort in ("concurrent", "threaded"):
            options["batch"] = 1  # what runs side by side may end in another order
        with bench.serving(contender, sort) as server:
            result = bench.generate(
                contender, server, "pipelined", **{"size": 64, "batch": 500, **options}
            )
        details[sort] = result["rate"]
        details[f"{sort}_us"] = result["server_cpu"] * result["seconds"] / result["messages"] * 1e6
    return Measurement(details["call"], details)


HANDLERS = Workload(
    name="handlers",
    title="Handlers: calls a second, 500 in flight; other sorts: server µs a message",
    unit="calls/s",
    better="more",
    references=(),
    contenders=("hisock", "hisock-python"),
    measure=_handlers,
    columns=tuple((f"{sort}_us", sort) for sort in SORTS),
    weight="search",
)
