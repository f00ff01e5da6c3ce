"""Rates from two answers of a server, and a page that shows them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hisock._cli.bench.report import duration
from hisock._cli.top.administrator import Administrator
from hisock._core.reporting import one_line

#: Counters that are shown as rates.
RATES: Final = ("messages_in", "messages_out", "bytes_in", "bytes_out", "joins", "dropped")
_FIRST_HANDLERS, _FIRST_TICKS = 10, 5


class Sample(NamedTuple):
    """What a server said at one moment.

    :ivar at: when, in seconds of a monotonic clock.
    """

    at: float
    server: dict[str, Any]
    clients: dict[str, Any]


async def take_sample(administrator: Administrator, clients: int) -> Sample:
    """Ask the server.

    :param clients: how many of them to ask for.
    """
    return Sample(
        time.monotonic(), await administrator.stats(), await administrator.clients(clients)
    )


def rates(before: Sample, now: Sample) -> dict[str, float]:
    """How much the counters have grown, in a second."""
    seconds = max(now.at - before.at, 1e-9)
    old, new = before.server["stats"], now.server["stats"]
    return {name: round((new[name] - old[name]) / seconds, 3) for name in RATES}


def as_json(before: Sample, now: Sample) -> dict[str, Any]:
    """All that is known, for a program."""
    return {
        "time": round(time.time(), 3),
        **now.server,
        "rates": rates(before, now),
        "clients": now.clients["clients"],
    }


def page(before: Sample, now: Sample, where: str, selected: int | None = None) -> RenderableType:
    """Everything, as it fits a terminal.

    :param selected: which client is marked.
    """
    parts: list[RenderableType] = [_head(before, now, where), Text()]
    if now.server["handlers"]:
        parts += [_handlers(now.server["handlers"]), Text()]
    if now.server["stats"]["ticks"]:
        parts += [_ticks(now.server["stats"]["ticks"]), Text()]
    parts.append(_clients(now.clients, selected))
    return Group(*parts)


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _head(before: Sample, now: Sample, where: str) -> RenderableType:
    stats, rate = now.server["stats"], rates(before, now)
    table = Table.grid(padding=(0, 3))
    server = now.server
    table.add_row(
        f"[bold]{escape(where)}",
        escape(one_line(f"hisock {server['version']} ({server['framing']})", 40)),
        escape(one_line(f"Python {server['python']}, {server['loop']}", 40)),
    )
    table.add_row(
        f"clients [bold]{stats['clients']:,}",
        f"in [bold]{rate['messages_in']:,.0f}[/]/s, {size(rate['bytes_in'])}/s",
        f"out [bold]{rate['messages_out']:,.0f}[/]/s, {size(rate['bytes_out'])}/s",
        f"joins {rate['joins']:,.1f}/s",
    )
    table.add_row(
        f"queued [bold]{size(stats['queued_bytes'])}",
        f"buffered {size(stats['buffered_bytes'])}",
        f"loop lag {duration(stats['loop_lag'])}",
        f"dropped {rate['dropped']:,.0f}/s",
    )
    problems = {
        "handler errors": stats["handler_errors"],
        "slow handlers": sum(stats["slow"].values()),
        "unhandled": sum(stats["unhandled"].values()),
    }
    table.add_row(*(f"{name} {count:,}" for name, count in problems.items()))
    return table


def _grid(title: str, columns: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2), title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", header_style="dim")
    return table


def _handlers(handlers: dict[str, dict[str, float]]) -> Table:
    table = _grid("Handlers, slowest first", ["command", "calls", "mean", "p50", "p99", "max"])
    order = sorted(handlers.items(), key=lambda item: -item[1]["p99"])
    for command, found in order[:_FIRST_HANDLERS]:
        times = (duration(found[key]) for key in ("mean", "p50", "p99", "max"))
        table.add_row(escape(one_line(command, 30)), f"{found['count']:,}", *times)
    return table


def _ticks(ticks: dict[str, dict[str, float]]) -> Table:
    table = _grid("Ticks", ["function", "every", "late", "latest", "skipped"])
    for name, tick in list(ticks.items())[:_FIRST_TICKS]:
        times = (duration(tick[key]) for key in ("interval", "late", "latest"))
        table.add_row(escape(one_line(name, 30)), *times, f"{tick['skipped']:,}")
    return table


def _clients(clients: dict[str, Any], selected: int | None) -> Table:
    found = clients["clients"]
    title = f"Clients, slowest first: {len(found)} of {clients['total']:,}"
    table = _grid(title, ["address", "name", "group", "queued", "in", "out", "dropped"])
    for number, client in enumerate(found):
        table.add_row(
            escape(one_line(client["addr"], 60)),
            escape(one_line(client["name"] or "", 20)),
            escape(one_line(client["group"] or "", 20)),
            size(client["queued_bytes"]),
            f"{client['messages_in']:,}",
            f"{client['messages_out']:,}",
            f"{client['dropped']:,}",
            style="reverse" if number == selected else "",
        )
    return table
