"""``hisock bench HOST:PORT``."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from hisock._cli.bench import report
from hisock._cli.bench.kinds import KindName
from hisock._cli.bench.load import LoadCounts, Target
from hisock._cli.bench.run import Outcome, Plan, run
from hisock._cli.options import (
    AuthoritiesOption,
    HeaderLenOption,
    JSONOption,
    TLSOption,
    TokenOption,
    tls_of,
)
from hisock._cli.usage import FAILED, finish, parse_target
from hisock._runtime.loops import new_loop, raise_descriptor_limit
from hisock.framing import DEFAULT_HEADER_LEN


def add_to(app: typer.Typer) -> None:
    @app.command("bench", rich_help_panel="Try and measure")
    def bench(
        target: Annotated[str, typer.Argument(metavar="HOST:PORT")],
        kind: Annotated[KindName, typer.Option(help="What is sent, see above.")] = "echo",
        command: Annotated[
            str | None, typer.Option(help="The command; by default called like the kind.")
        ] = None,
        connections: Annotated[int, typer.Option("--connections", "-c", min=1)] = 10,
        seconds: Annotated[float, typer.Option("--seconds", "-t", min=0.1)] = 10.0,
        size: Annotated[int, typer.Option(min=0, help="Bytes of a message.")] = 64,
        rate: Annotated[
            float | None,
            typer.Option(min=0.1, help="Messages a second in all; else as fast as answers come."),
        ] = None,
        depth: Annotated[
            int, typer.Option(min=1, help="Without --rate: unanswered messages a connection.")
        ] = 1,
        room_size: Annotated[int, typer.Option(min=1, help="Clients in a room.")] = 20,
        token: TokenOption = None,
        tls: TLSOption = False,
        ca: AuthoritiesOption = None,
        as_json: JSONOption = False,
        header_len: HeaderLenOption = DEFAULT_HEADER_LEN,
    ) -> None:
        """Put load on a server, and measure how long answers take.

        The server needs a handler that answers. For `--kind echo` it sends the message back as
        the same command, for `call` it returns something, for `room` it sends the message to the
        client's group. What is missing is said.

        With `--rate`, messages are sent when they are due even if answers are late, and latency
        counts from when they were due, so that a server which stalls is not measured less often.
        """
        plan = Plan(kind, command or kind, connections, seconds, size, rate, depth, room_size)

        def work() -> int:
            raise_descriptor_limit()
            aim = Target(parse_target(target), tls_of(tls, ca), token, header_len)
            outcome = _measure(aim, plan, quiet=as_json)
            if as_json:
                print(json.dumps(report.as_json(outcome)))
            else:
                report.show(outcome, Console())
            return 0 if outcome.ok else FAILED

        finish("bench", work)


def _measure(target: Target, plan: Plan, quiet: bool) -> Outcome:
    """Run it, with figures that change meanwhile on a terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        return _run(target, plan, None)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        return _run(target, plan, live)


def _run(target: Target, plan: Plan, live: Live | None) -> Outcome:
    before = (0.0, 0)

    def watch(counts: LoadCounts, seconds: float) -> None:
        nonlocal before
        then, answers = before
        before = (seconds, counts.answers)
        if live is None or seconds <= then:
            return
        speed = (counts.answers - answers) / (seconds - then)
        p50, p99 = (counts.latencies.percentile(share) for share in (0.5, 0.99))
        live.update(
            f"{seconds:4.0f} s  {speed:>10,.0f} answers/s  p50 {report.duration(p50)}  "
            f"p99 {report.duration(p99)}",
            refresh=True,
        )

    loop = new_loop("auto")
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(run(target, plan, watch, 0.5))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
