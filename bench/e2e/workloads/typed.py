"""Messages as users send them: decoded into a type, handled, encoded and sent back."""

from __future__ import annotations

import json
from dataclasses import replace

from ..contenders import CODERS, Contender
from .base import Bench, Measurement, Turns, Workload

MOVE = json.dumps(
    {"player": "Ada Lovelace", "x": 12.25, "y": 17.5, "speed": 3.75, "turning": True},
    separators=(",", ":"),
)
#: 100 B, 1 KiB and 4 KiB of numbers.
FLOATS = {
    size: json.dumps([round(at * 1.37 + 0.01, 3) for at in range(count)], separators=(",", ":"))
    for size, count in ((100, 14), (1024, 140), (4096, 560))
}
CONTENDERS = ("hisock", "hisock-python", "picows", *(each.name for each in CODERS), "socketio")


def _pipelined(bench: Bench, contender: Contender, role: str, text: str) -> Measurement:
    batch = max(1, min(512, 131072 // len(text)))
    with bench.serving(contender, role) as server:
        result = bench.generate(
            contender, server, "pipelined", text=text, batch=batch, seconds=_seconds(bench)
        )
    result["server_ns"] = result["server_cpu"] * result["seconds"] / result["messages"] * 1e9
    return Measurement(result["rate"], result)


def _seconds(bench: Bench) -> float:
    """Five messages are measured for each contender, so each has less time."""
    return 0.6 * bench.settings.seconds


def _kinds(bench: Bench, contender: Contender) -> Measurement:
    """A Struct, with the other kinds as details."""
    details: dict[str, float] = {}
    for role in ("struct", "dict"):
        measured = _pipelined(bench, contender, role, MOVE)
        details[role] = measured.value
        details[f"{role}_ns"] = measured.details["server_ns"]
    for size, text in FLOATS.items():
        details[f"floats_{size}"] = _pipelined(bench, contender, "floats", text).value
    return Measurement(details["struct"], details)


def _one_at_a_time(bench: Bench, contender: Contender) -> Turns:
    return replace(bench, shared_core=True).round_trips(contender, "struct", text=MOVE)


TYPED = Workload(
    name="typed",
    title="Typed messages: 72 B of JSON into a Struct and back, pipelined",
    unit="messages/s",
    better="more",
    references=("picows", "websockets-msgspec"),
    contenders=CONTENDERS,
    measure=_kinds,
    columns=(
        ("struct_ns", "server ns/msg"),
        ("dict", "as dict"),
        ("floats_100", "floats, 100 B"),
        ("floats_1024", "1 KiB"),
        ("floats_4096", "4 KiB"),
    ),
    weight="search",
)

TYPED_ROUNDTRIP = Workload(
    name="typed-roundtrip",
    title="Typed messages: 72 B of JSON into a Struct and back, one at a time, one core, median",
    unit="µs",
    better="less",
    references=("picows",),
    contenders=CONTENDERS,
    hold=_one_at_a_time,
    columns=(("p99_us", "p99 µs"),),
)
