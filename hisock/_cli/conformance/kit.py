"""Runs the cases, each on a connection of its own, and says how they went."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

from hisock._cli.conformance.cases import Case
from hisock._cli.conformance.lines import Failure, TestedConnections, frame


@dataclass
class Score:
    """What came of it.

    :ivar failed: the names of the cases that failed.
    """

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)


def run(listener: socket.socket, cases: Iterable[Case], websocket: bool, patience: float) -> Score:
    """Run cases with the client that connects, and print a line for each.

    :raises Failure: no client connects any more.
    """
    score = Score()
    with TestedConnections(listener, websocket, patience) as lines:
        for case in cases:
            _run_one(lines, case, score)
    return score


def _run_one(lines: TestedConnections, case: Case, score: Score) -> None:
    with lines.next() as line:
        try:
            line.welcome()
            if case.feature is not None and case.feature not in line.features:
                score.skipped += 1
                print(f"skip  {case.name} (its hello has no {case.feature!r})", flush=True)
            else:
                case.check(line)
                score.passed += 1
                print(f"ok    {case.name}", flush=True)
            if not case.closes:
                line.send(frame(b"$DISCONN$"))
                line.expect_close()
        except (Failure, OSError) as exc:
            score.failed.append(case.name)
            print(f"FAIL  {case.name}: {exc}", flush=True)
