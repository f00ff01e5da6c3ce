"""``hisock bench``: real load on a real server, and how its latencies are counted."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from typing import Any, cast

import pytest
from support.process import environment
from support.terminal import Terminal

import hisock
from hisock._cli.bench.load import LoadConnection, pace
from hisock._core.latencies import Latencies

from .running import run_here

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("arguments", "answers"),
    [
        (["--kind", "echo", "--depth", "4"], 1),
        (["--kind", "call", "--command", "answer", "--rate", "200"], 1),
        (["--kind", "room", "--room-size", "3", "--rate", "200"], 3),
    ],
    ids=["echo", "call", "room"],
)
def test_every_message_is_answered_and_counted(
    server: hisock.ThreadedHiSockServer,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    answers: int,
) -> None:
    words = ["bench", f":{server.addr[1]}", "--json", "-c", "6", "-t", "0.3", *arguments]
    done: Any
    if "echo" in arguments:  # as its users run it
        command = [sys.executable, "-m", "hisock", *words]
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", env=environment(), timeout=50
        )
    else:
        done = run_here(monkeypatch, *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ok"] is True
    assert found["sent"] > 0
    assert found["answers"] == found["sent"] * answers
    assert found["unanswered"] == found["errors"] == found["lost_connections"] == 0
    assert sum(bar["count"] for bar in found["histogram"]) == found["answers"]
    latency = found["latency"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]


def test_figures_and_a_histogram_are_printed(
    server: hisock.ThreadedHiSockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_here(monkeypatch, "bench", f":{server.addr[1]}", "-t", "0.3", "-c", "2")
    assert done.returncode == 0, done.stderr
    assert "echo: 2 connections, 64 B, as fast as answers come" in done.stdout
    assert "p99.9" in done.stdout
    assert "█" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--command", "nope"], 2, '@server.on("nope")'),
        (["--kind", "call", "--command", "fail"], 2, "failed: it failed on purpose"),
        (["-c", "1", "--command", "bye"], 1, "ended the connection"),
    ],
)
def test_what_the_server_does_not_have_is_said(
    server: hisock.ThreadedHiSockServer,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.setattr("hisock._cli.bench.run.PATIENCE", 0.5)
    done = run_here(monkeypatch, "bench", f":{server.addr[1]}", *arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


class Stalling:
    """A connection that cannot write during its first rounds."""

    def __init__(self) -> None:
        self.owed: list[float] = []
        self.sent: list[float] = []
        self.rounds = 0

    @property
    def full(self) -> bool:
        self.rounds += 1
        return self.rounds < 20

    def send(self, due: list[float]) -> None:
        self.sent += due


def test_what_a_stall_delays_keeps_the_moments_at_which_it_was_due() -> None:
    connection = Stalling()
    fake = cast(LoadConnection, connection)
    asyncio.run(pace([fake], 1000.0, 50, lambda: False))
    assert connection.rounds >= 20
    sent = connection.sent
    assert len(sent) == 50
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert gaps == pytest.approx([0.001] * len(gaps))


def test_percentiles_are_exact_to_their_bucket() -> None:
    latencies = Latencies()
    for milliseconds in range(1, 1001):
        latencies.add(milliseconds / 1000)
    assert latencies.count == 1000
    assert latencies.mean == pytest.approx(0.5005)
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        assert latencies.percentile(share) == pytest.approx(share, rel=1 / 32)
    assert latencies.longest == 1.0
    bars = list(latencies.bars())
    assert sum(bar.count for bar in bars) == 1000
    assert [bar.up_to for bar in bars] == sorted(bar.up_to for bar in bars)


def test_nothing_and_the_longest_durations_are_counted() -> None:
    latencies = Latencies()
    assert (latencies.percentile(0.5), latencies.mean, list(latencies.bars())) == (0.0, 0.0, [])
    latencies.add(0.0)
    latencies.add(1e9)
    assert latencies.percentile(0.5) == pytest.approx(1e-6)
    assert latencies.count == 2


def test_at_a_terminal_there_are_live_figures(server: hisock.ThreadedHiSockServer) -> None:
    words = ["bench", f":{server.addr[1]}", "-c", "2", "-t", "1.5"]
    with Terminal([sys.executable, "-m", "hisock", *words]) as terminal:
        terminal.wait_for("answers/s  p50")
        assert terminal.status() == 0
        assert "answers/s  p50" not in terminal.text
        assert "p99.9" in terminal.text
