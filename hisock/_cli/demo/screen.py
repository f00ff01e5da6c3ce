"""How the demo shows itself: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.live import Live
from rich.table import Table

from hisock._cli.demo.director import Glance, Result
from hisock._cli.demo.nodes import WorkerRow


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ms"


def _load(row: WorkerRow) -> str:
    return "killed" if row.killed else f"{row.load:.0%} of a core"


class Lines:
    """One line a second; for pipes, files and CI."""

    interval = 1.0

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, glance: Glance) -> None:
        self.say(
            f"{glance.elapsed:5.1f} s  {glance.players} players  "
            f"in {glance.received:,.0f}/s  out {glance.delivered:,.0f}/s  "
            f"p50 {milliseconds(glance.latency.percentile(0.5))}  "
            f"p99 {milliseconds(glance.latency.percentile(0.99))}  "
            f"server {glance.server_load:.0%} of a core"
        )
        for row in glance.rows:
            self.say(
                f"         worker {row.number} (process {row.pid})  {row.players} players  "
                f"in {row.received:,.0f}/s  out {row.delivered:,.0f}/s  "
                f"to workers {row.batches:,.0f}/s  {_load(row)}"
            )

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        return False


class LiveTable:
    """A table that is drawn anew twice a second."""

    interval = 0.5

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def show(self, glance: Glance) -> None:
        table = Table(title=f"{glance.elapsed:.1f} s")
        if glance.rows:
            table.add_column("worker")
        for heading in ("players", "messages in/s", "deliveries out/s", "p50", "p99", "server"):
            table.add_column(heading, justify="right")
        for row in glance.rows:
            table.add_row(
                f"{row.number} (process {row.pid})",
                f"{row.players:,}",
                f"{row.received:,.0f}",
                f"{row.delivered:,.0f}",
                "",
                "",
                _load(row),
            )
        table.add_row(
            *(["all"] if glance.rows else []),
            f"{glance.players:,}",
            f"{glance.received:,.0f}",
            f"{glance.delivered:,.0f}",
            milliseconds(glance.latency.percentile(0.5)),
            milliseconds(glance.latency.percentile(0.99)),
            f"{glance.server_load:.0%} of a core",
        )
        self._live.update(table, refresh=True)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        self._live.stop()
        return False


def summary(result: Result) -> str:
    """What came of it, in a few lines."""
    latency = result.latency
    lines = [
        f"moves sent    {result.sent:,} in {result.seconds:.1f} s",
        f"deliveries    {result.heard:,} of {result.expected:,}",
        f"latency       p50 {milliseconds(latency.percentile(0.5))}, "
        f"p99 {milliseconds(latency.percentile(0.99))}, "
        f"longest {milliseconds(latency.percentile(1.0))}",
        f"lost          {result.lost:,}",
    ]
    if result.kill is not None:
        lines.append(f"cut by kill   {result.cut:,} deliveries: on their way, or to players away")
        lines += result.kill.summary()
    if result.disordered:
        lines.append(f"out of order  {result.disordered:,}")
    if result.misdirected:
        lines.append(f"wrong room    {result.misdirected:,}")
    if result.cut_off:
        lines.append(f"cut off       {result.cut_off:,} of the players")
    planned = result.settings.players * result.settings.rate * result.seconds
    if result.kill is None and result.sent < 0.95 * planned:
        lines.append(
            f"note          the players made {result.sent / planned:.0%} of the moves they were "
            "to make: this machine cannot drive so many"
        )
    return "\n".join(lines)
