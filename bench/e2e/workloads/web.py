"""WebSockets: what a message, a delivery, a join and an idle client cost the server.

hisock over TCP is beside them, without and with WebSockets on its port. All figures are processor
time of the server (or its memory), which hardly depends on what else the machine does.
"""

from __future__ import annotations

from ..contenders import Contender
from ..places import BenchError
from .base import Bench, Measurement, Workload
from .memory import idle

OURS = ("hisock", "hisock-sniffed", "hisock-web", "hisock-web-websockets")
PLAIN = ("picows", "websockets", "aiohttp")
PLAYERS = 200
"""Few enough for every contender to keep up."""


def _cpu_ns(result: dict[str, float], count: float) -> float:
    """Processor time of the server for each.

    :raises BenchError: there was none in the measured time.
    """
    if not count:
        raise BenchError("nothing came back in the measured time")
    return result["server_cpu"] * result["seconds"] / count * 1e9


def _echo(bench: Bench, contender: Contender) -> Measurement:
    seconds = 0.5 * bench.settings.seconds
    work = {"size": 64, "batch": 512, "seconds": seconds, "warmup": 0.1}
    with bench.serving(contender) as server:
        each = bench.generate(contender, server, "pipelined", **work)
        single = bench.generate(contender, server, "roundtrip", **work)
        details = {
            "single_us": _cpu_ns(single, single["messages"]) / 1e3,
            "rate": each["rate"],
        }
        if contender.wire == "web":
            batched = bench.generate(contender, server, "pipelined", together=True, **work)
            details["batched_ns"] = _cpu_ns(batched, batched["messages"])
    return Measurement(_cpu_ns(each, each["messages"]), details)


def _players(bench: Bench, contender: Contender) -> Measurement:
    with bench.serving(contender, "move") as server:
        result = bench.generate(
            contender,
            server,
            "players",
            conns=PLAYERS,
            size=32,
            rate=20,
            room_size=20,
            seconds=0.6 * bench.settings.player_seconds,
            warmup=0.1,
        )
    return Measurement(_cpu_ns(result, result["deliveries"]), result)


ECHO = Workload(
    name="web",
    title="WebSocket echo of 64 B: server time of a message, batches of 512; one at a time",
    unit="ns",
    better="less",
    references=("picows", "websockets", "hisock"),
    contenders=(*OURS, *PLAIN, "socketio"),
    measure=_echo,
    columns=(
        ("batched_ns", "ns, batched by the client"),
        ("single_us", "µs one at a time"),
        ("rate", "messages/s"),
    ),
)

PLAYERS_CPU = Workload(
    name="web-players",
    title="WebSocket players: 200 in rooms of 20, 20 moves/s each; server time of a delivery",
    unit="ns",
    better="less",
    references=("picows", "websockets", "hisock"),
    contenders=(*OURS, *PLAIN),  # python-socketio does not hold so many
    measure=_players,
    columns=(("p99_ms", "p99 ms"), ("server_cpu", "server CPU")),
    weight="long",
)

IDLE = Workload(
    name="web-idle",
    title="WebSocket clients that are idle: memory of one; server time of its join",
    unit="KiB/client",
    better="less",
    references=("picows", "websockets", "hisock"),
    contenders=(*OURS, *PLAIN),
    measure=idle,
    columns=(("join_us", "µs a join"),),
    weight="long",
)
