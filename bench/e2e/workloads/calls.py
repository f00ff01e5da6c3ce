"""Calls from Python to Python: 500 in flight and one at a time."""

from __future__ import annotations

import json
import os
import subprocess

from ..contenders import Contender
from ..places import HERE, ROOT, BenchError
from .base import Bench, Measurement, Workload

CLIENTS = HERE / "clients"


def _calls(bench: Bench, contender: Contender) -> Measurement:
    with bench.serving(contender, "call") as server:
        found = _called(bench, contender, server.port)
    return Measurement(found["rate"], found)


def _called(bench: Bench, contender: Contender, port: int) -> dict[str, float]:
    kind = "socketio" if contender.name == "socketio" else "hisock"
    program = CLIENTS / f"calling_{kind}.py"
    command = [str(bench.pythons[contender.environment]), str(program), str(port)]
    core = bench.machine.generator_core
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    try:
        done = subprocess.run(
            [*command, str(bench.settings.seconds)],
            env={**os.environ, **contender.variables, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=20 + 4 * bench.settings.seconds,
        )
    except subprocess.TimeoutExpired:
        raise BenchError("the client did not end in time") from None
    if done.returncode:
        raise BenchError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    result: dict[str, float] = json.loads(done.stdout)
    return result


CALLS = Workload(
    name="calls",
    title="Calls of 64 B, Python on both ends, each with a core: 500 in flight",
    unit="calls/s",
    better="more",
    references=("socketio",),
    contenders=("hisock", "hisock-python", "socketio"),
    measure=_calls,
    columns=(("client_us", "client CPU µs"), ("alone_us", "one at a time, µs")),
)
