"""Rounds: every contender once, then again, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .contenders import BY_NAME
from .places import BenchError
from .workloads.base import Bench, Hold, Measurement, Workload

#: How often each contender is measured in a round where all are held.
TURNS = 7


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

    def ratio(self, contender: str, reference: str, key: str = "", of: str = "") -> float | None:
        """The median of the ratios of all rounds: a machine may be twice as fast in one of them.

        :param key: of this detail; without it, of the figure itself.
        :param of: the detail of the reference that it is divided by; without it, its figure.
        """
        ours, theirs = self.rows.get(contender), self.rows.get(reference)
        if not ours or not theirs:
            return None
        pairs = zip(ours.measurements, theirs.measurements, strict=False)
        found = ((one.figure(key), another.figure(of)) for one, another in pairs)
        ratios = [one / another for one, another in found if one is not None and another]
        return statistics.median(ratios) if ratios else None


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
            left = [row for row in outcome.rows.values() if not row.failure]
            if workload.hold is not None:
                _in_turn(bench, workload, workload.hold, left, number)
                continue
            for row in left:
                _once(bench, workload, row, number)
        outcomes.append(outcome)
    return outcomes


def _once(bench: Bench, workload: Workload, row: Row, number: int) -> None:
    began = time.monotonic()
    assert workload.measure is not None, "else its contenders are held"
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


def _in_turn(
    bench: Bench, workload: Workload, hold: Hold, rows: Iterable[Row], number: int
) -> None:
    """All contenders run at the same time, and each is measured some times, in turn."""
    began = time.monotonic()
    held: list[tuple[Row, contextlib.ExitStack, Callable[[], Measurement]]] = []
    with contextlib.ExitStack() as stack:
        for row in rows:
            own = stack.enter_context(contextlib.ExitStack())
            try:
                turn = own.enter_context(hold(bench, BY_NAME[row.contender]))
            except BenchError as error:
                row.failure = str(error)
            else:
                held.append((row, own, turn))
        for at in range(TURNS if held else 0):
            first = at % len(held)  # nobody is always behind the one that leaves the caches worst
            for row, own, turn in held[first:] + held[:first]:
                if row.failure:
                    continue
                try:
                    row.measurements.append(turn())
                except BenchError as error:
                    row.failure = _last_words(own, error)
    took = time.monotonic() - began
    for row in rows:
        median = statistics.median(row.values[-TURNS:]) if row.measurements else 0
        text = f"failed: {row.failure}" if row.failure else f"{median:,.5g} {workload.unit}"
        place = f"{workload.name}, round {number + 1}, {row.contender}"
        print(f"  {place}: {text}", file=sys.stderr, flush=True)
    print(f"  {workload.name}, round {number + 1}: {took:.1f} s", file=sys.stderr, flush=True)


def _last_words(held: contextlib.ExitStack, error: BenchError) -> str:
    """Stop a contender that has failed; what it printed at the end may say why."""
    try:
        held.__exit__(type(error), error, error.__traceback__)
    except BenchError as said:
        return str(said)
    return str(error)
