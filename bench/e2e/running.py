"""Rounds: every contender once, then again, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from .contenders import BY_NAME
from .places import BenchError
from .workloads.base import Bench, Measurement, Workload


@dataclass
class Row:
    """One contender in one workload."""

    contender: str
    measurements: list[Measurement] = field(default_factory=list)
    failure: str = ""

    @property
    def values(self) -> list[float]:
        return [measurement.value for measurement in self.measurements]

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.measurements else None

    def detail(self, key: str) -> float | None:
        """The median of a detail over the rounds."""
        found = [m.details[key] for m in self.measurements if key in m.details]
        return statistics.median(found) if found else None


@dataclass
class Outcome:
    workload: Workload
    rows: dict[str, Row]

    def ratio(self, contender: str, reference: str) -> float | None:
        ours, theirs = self.rows.get(contender), self.rows.get(reference)
        if not ours or not theirs or ours.median is None or not theirs.median:
            return None
        return ours.median / theirs.median


def run(
    bench: Bench, workloads: Iterable[Workload], named: frozenset[str] | None, rounds: int | None
) -> list[Outcome]:
    """Each workload in turn, with those of its contenders that are named, or all of the set's."""
    outcomes = []
    for workload in workloads:
        names = workload.taking_part(bench.settings, named)
        if not names:
            continue
        outcome = Outcome(workload, {name: Row(name) for name in names})
        for number in range(rounds or workload.rounds(bench.settings)):
            for row in outcome.rows.values():
                if not row.failure:
                    _once(bench, workload, row, number)
        outcomes.append(outcome)
    return outcomes


def _once(bench: Bench, workload: Workload, row: Row, number: int) -> None:
    began = time.monotonic()
    try:
        measurement = workload.measure(bench, BY_NAME[row.contender])
    except BenchError as error:
        row.failure = str(error)
        text = f"failed: {error}"
    else:
        row.measurements.append(measurement)
        text = f"{measurement.value:,.5g} {workload.unit}"
    took = time.monotonic() - began
    place = f"{workload.name}, round {number + 1}, {row.contender}"
    print(f"  {place}: {text}  ({took:.1f} s)", file=sys.stderr, flush=True)
