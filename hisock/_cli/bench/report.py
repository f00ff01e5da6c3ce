"""What a run has shown: figures and a histogram, or JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from hisock._cli.bench.run import Outcome
from hisock._core.latencies import Latencies

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
_WIDTH = 40


def duration(seconds: float) -> str:
    """A latency as a person reads it."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def as_json(outcome: Outcome) -> dict[str, Any]:
    """All figures; latencies are in seconds."""
    plan, counts, latencies = outcome.plan, outcome.counts, outcome.counts.latencies
    return {
        **plan._asdict(),
        "ok": outcome.ok,
        "seconds": round(outcome.seconds, 6),
        "sent": counts.sent,
        "answers": counts.answers,
        "sent_per_second": round(counts.sent / outcome.seconds, 3),
        "answers_per_second": round(counts.answers / outcome.seconds, 3),
        "received_bytes": counts.received,
        "errors": counts.errors,
        "lost_connections": counts.lost,
        "unanswered": outcome.unanswered,
        "latency": {
            "mean": round(latencies.mean, 9),
            **{name: round(latencies.percentile(share), 9) for name, share in SHARES.items()},
            "max": round(latencies.longest, 9),
        },
        "histogram": [{"up_to": bar.up_to, "count": bar.count} for bar in latencies.bars()],
    }


def show(outcome: Outcome, console: Console) -> None:
    """Print the figures and the histogram."""
    plan, counts = outcome.plan, outcome.counts
    pace = "as fast as answers come" if plan.rate is None else f"{plan.rate:,.0f} messages/s"
    room = f" in rooms of {plan.room_size}" if plan.kind == "room" else ""
    console.print(
        f"{plan.kind}: {plan.connections} connections{room}, {plan.size} B, {pace}, "
        f"{outcome.seconds:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    table = Table.grid(padding=(0, 3))
    table.add_row("sent", f"{counts.sent:,}", f"{counts.sent / outcome.seconds:,.0f}/s")
    table.add_row("answers", f"{counts.answers:,}", f"{counts.answers / outcome.seconds:,.0f}/s")
    megabytes = counts.received / 1e6
    table.add_row("received", f"{megabytes:,.1f} MB", f"{megabytes / outcome.seconds:,.1f} MB/s")
    for name, count in (
        ("handler errors", counts.errors),
        ("connections lost", counts.lost),
        ("unanswered", outcome.unanswered),
    ):
        if count:
            table.add_row(f"[red]{name}", f"[red]{count:,}")
    console.print(table)
    if counts.error:
        console.print(
            f"[red]the server's handler:[/] {counts.error}", highlight=False, soft_wrap=True
        )
    if counts.why:
        console.print(f"[red]a connection:[/] {counts.why}", highlight=False, soft_wrap=True)
    _show_latencies(counts.latencies, console, plan.rate is not None)


def _show_latencies(latencies: Latencies, console: Console, paced: bool) -> None:
    if not latencies.count:
        return
    since = "from when each message was due" if paced else "from when each message was sent"
    console.print(f"\nlatency, {since}:", highlight=False, soft_wrap=True)
    figures = {"mean": latencies.mean}
    figures.update({name: latencies.percentile(share) for name, share in SHARES.items()})
    figures["max"] = latencies.longest
    console.print(
        "  ".join(f"[bold]{name}[/] {duration(value)}" for name, value in figures.items()),
        highlight=False,
        soft_wrap=True,
    )
    bars = list(latencies.bars())
    most = max(bar.count for bar in bars)
    for bar in bars:
        width = round(_WIDTH * bar.count / most)
        share = 100 * bar.count / latencies.count
        blocks = "█" * width or ("▏" if bar.count else "")
        console.print(
            f"  to {duration(bar.up_to):>9}  {blocks:<{_WIDTH}}  {share:5.1f} %", highlight=False
        )
