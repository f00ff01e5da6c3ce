"""The run as one plain table, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import goals
from .contenders import BY_NAME
from .machine import Machine
from .running import Outcome, Row


def number(value: float | None) -> str:
    """Three or four digits that matter, no exponent."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _cells(outcome: Outcome, row: Row) -> list[str]:
    title = BY_NAME[row.contender].title
    if row.median is None:
        return [title, "failed: " + row.failure]
    spread = f"{number(min(row.values))} - {number(max(row.values))}"
    ratios = [number(outcome.ratio(row.contender, other)) for other in outcome.workload.references]
    details = [number(row.detail(key)) for key, _ in outcome.workload.columns]
    return [title, number(row.median), spread, *ratios, *details]


def _section(outcome: Outcome) -> list[str]:
    workload = outcome.workload
    heading = ["", workload.unit, "min - max"]
    heading += [f"x {name}" for name in workload.references]
    heading += [name for _, name in workload.columns]
    body = [_cells(outcome, row) for row in outcome.rows.values()]
    widths = [
        max(len(cells[i]) for cells in [heading, *body] if len(cells) == len(heading))
        for i in range(len(heading))
    ]
    rounds = max((len(row.values) for row in outcome.rows.values()), default=0)
    lines = [f"{workload.title} ({workload.better} is better; median of {rounds})"]
    for cells in [heading, *body]:
        first, rest = cells[0].ljust(widths[0]), cells[1:]
        if len(cells) == len(heading):
            text = "  ".join(
                cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)
            )
        else:
            text = rest[0]
        lines.append(f"  {first}  {text}".rstrip())
    for row in outcome.rows.values():
        if row.failure and row.measurements:
            title, n = BY_NAME[row.contender].title, len(row.measurements)
            lines.append(f"  {title} failed after {n} of the rounds: {row.failure}")
    return lines


def table(
    machine: Machine, versions: dict[str, dict[str, str]], outcomes: Sequence[Outcome]
) -> str:
    """Everything in one text: machine, versions, workloads with ratios, goals."""
    lines = [machine.describe(), "", "Who, and when it writes:"]
    for name, parts in versions.items():
        contender = BY_NAME[name]
        text = ", ".join(f"{package} {version}" for package, version in parts.items())
        lines.append(f"  {contender.title}: {text or 'standard library'}; {contender.writes}")
    for outcome in outcomes:
        lines += ["", *_section(outcome)]
    checked = goals.check({outcome.workload.name: outcome for outcome in outcomes})
    if checked:
        lines += ["", "Goals of this project (hisock, uvloop, compiled, unless said otherwise)"]
    for goal, value in checked:
        further = "" if goal.further is None else f", then {goal.sign} {number(goal.further)}"
        verdict = "met" if goal.met(value) else "MISSED"
        what = f"{goal.workload}, {goal.text}"
        wanted = f"{goal.sign} {number(goal.reach)}{further}"
        shown = f"{value:.3f}" if value < 10 else number(value)  # 0.399 is not 0.40
        lines.append(f"  {what:<34} {shown:>8}   {verdict:<6}  ({wanted})")
    return "\n".join(lines)


def as_json(
    machine: Machine, versions: dict[str, dict[str, str]], outcomes: Sequence[Outcome], mode: str
) -> dict[str, Any]:
    """The same, with the value of every round."""
    by_name = {outcome.workload.name: outcome for outcome in outcomes}
    return {
        "mode": mode,
        "machine": machine.as_dict(),
        "versions": versions,
        "workloads": [_workload_json(outcome) for outcome in outcomes],
        "goals": [
            {
                "workload": goal.workload,
                "what": goal.text,
                "wanted": f"{goal.sign} {goal.reach:g}",
                "measured": value,
                "met": goal.met(value),
            }
            for goal, value in goals.check(by_name)
        ],
    }


def _workload_json(outcome: Outcome) -> dict[str, Any]:
    workload = outcome.workload
    return {
        "name": workload.name,
        "title": workload.title,
        "unit": workload.unit,
        "better": workload.better,
        "rows": [
            {
                "contender": row.contender,
                "title": BY_NAME[row.contender].title,
                "kind": BY_NAME[row.contender].kind,
                "median": row.median,
                "values": row.values,
                "failure": row.failure,
                "ratios": {
                    name: outcome.ratio(row.contender, name) for name in workload.references
                },
                "rounds": [measurement.details for measurement in row.measurements],
            }
            for row in outcome.rows.values()
        ],
    }
