"""Several clients with large messages at once, and the round trips of others beside them."""

from __future__ import annotations

from ..contenders import ECHOERS, OTHER_LOOPS, Contender
from .base import Bench, Measurement, Workload

STREAMS = 4


def _streams(bench: Bench, contender: Contender) -> Measurement:
    """64 KiB each, then 1 MiB each."""
    found = {}
    for name, size in (("medium", 64 * 1024), ("large", 1024 * 1024)):
        with bench.serving(contender) as server:
            result = bench.generate(contender, server, "streams", size=size, conns=STREAMS)
        found[f"{name}_mb"], found[f"{name}_p99_ms"] = result["megabytes"], result["p99_ms"]
        work = result["server_cpu"] * result["seconds"]
        found[f"{name}_us"] = work / result["messages"] * 1e6
    return Measurement(found["medium_mb"], found)


STREAMING = Workload(
    name="streams",
    title="Streams: 4 clients echo 64 KiB, one at a time each; ten others do round trips of 64 B",
    unit="MB/s",
    better="more",
    references=("floor-asyncio", "picows"),
    contenders=tuple(name for name in ECHOERS if name != "hisock202"),
    measure=_streams,
    columns=(
        ("medium_p99_ms", "p99 ms of the ten"),
        ("medium_us", "server µs/msg"),
        ("large_mb", "1 MiB each, MB/s"),
        ("large_p99_ms", "p99 ms of the ten"),
        ("large_us", "server µs/msg"),
    ),
    weight="search",
    only_full=frozenset((*OTHER_LOOPS, "hisock-python", "socketio", "floor-uvloop")),
)
