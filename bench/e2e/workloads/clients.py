"""Clients: what one receives, sends and asks in a second, and a thousand in one process.

The other end is in C and sends prebuilt bytes, so that what is measured is the client.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace

from ..contenders import CLIENT_PROGRAMS, Contender
from ..places import BenchError
from .base import Bench, Measurement, Workload

BATCH = 4096
#: hisock 2.0.2 takes half a header for a whole one, so it gets no more than fits into one read.
SMALL_BATCH = 512
BOTS = 1000
#: Messages that each bot is sent, and sends, in a second.
BOT_RATE = 5
HANDLERS = ("received", "sent", "roundtrip")
ROLES: Mapping[str, tuple[str, ...]] = {
    "blocking": (*HANDLERS, "batched", "recv"),
    "threaded": (*HANDLERS, "batched", "recv"),
    "async": (*HANDLERS, "recv"),
    "async-asyncio": (*HANDLERS, "recv"),
    "client-websockets-sync": ("received", "sent", "recv"),
    "client-websockets": ("received", "sent", "recv"),
}


def _batch(contender: Contender) -> int:
    return SMALL_BATCH if contender.name == "client-hisock202" else BATCH


def _run(
    bench: Bench, contender: Contender, asked: str, program: str, **options: object
) -> dict[str, float]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        variables = {
            **contender.variables,
            "BENCH_PORT": str(listener.getsockname()[1]),
            "BENCH_BATCH": str(_batch(contender)),
            "BENCH_BOTS": str(BOTS),
        }
        client = replace(contender, variables=variables)
        with bench.serving(client, asked) as process:
            return bench.generate(
                client,
                process,
                program,
                listener=listener.fileno(),
                **options,
            )


def _clients(bench: Bench, contender: Contender) -> Measurement:
    details: dict[str, float] = {}
    for role in ROLES.get(contender.name, HANDLERS):
        bench.shared_core = role in ("roundtrip", "recv")
        work = {"batched": "sent", "recv": "roundtrip"}.get(role, role)
        try:
            seconds = 0.5 * bench.settings.seconds
            options = {"role": work, "batch": _batch(contender), "seconds": seconds}
            found = _run(bench, contender, role, "client", **options)
        except BenchError as error:
            raise BenchError(f"{role}: {error}") from None
        finally:
            bench.shared_core = False
        details[role] = found["rate"]
        details[f"{role}_us"] = found["server_cpu"] / found["rate"] * 1e6
        if work == "roundtrip":
            details[role] = found["median_us"]
    return Measurement(details["received"], details)


def _swarm(bench: Bench, contender: Contender) -> Measurement:
    found = _run(bench, contender, "swarm", "swarm", conns=BOTS, rate=BOT_RATE, settle=0.3)
    return Measurement(found["us"], found)


CLIENTS = Workload(
    name="clients",
    title="A client: 64 B received, sent, one at a time (there and back, one core)",
    unit="received/s",
    better="more",
    references=("client-picows", "client-websockets", "client-websockets-sync"),
    contenders=tuple(contender.name for contender in CLIENT_PROGRAMS),
    measure=_clients,
    columns=(
        ("received_us", "CPU µs"),
        ("sent", "sent/s"),
        ("sent_us", "CPU µs"),
        ("batched", "in a batch/s"),
        ("batched_us", "CPU µs"),
        ("roundtrip", "round trip µs"),
        ("recv", "by recv µs"),
    ),
    weight="search",
)

SWARM = Workload(
    name="swarm",
    title="1,000 clients in a process, each 5 messages of 64 B a second there and back",
    unit="CPU µs a message",
    better="less",
    references=("client-picows", "client-websockets"),
    contenders=("async", "async-asyncio", "client-picows", "client-websockets"),
    measure=_swarm,
    columns=(("kib", "KiB a client"), ("joins", "joins/s")),
    weight="search",
)
