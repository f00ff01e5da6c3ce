"""What a cluster costs: processor time of all servers for each delivery, against one process.

    python -m bench.e2e.cluster [--players 1200] [--rounds 3] [--seconds 4] [--only NAME,...]

Rooms of 20 players that move 20 times a second, spread over the workers by the kernel, which is
the worst case: with 2 workers half of the deliveries cross, with 4 three quarters. ``apart`` keeps
each room in one process. Ratios are taken within a round, and the medians of the rounds are shown.
The brokers are those of the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from support.brokers import Broker

from . import compiling

SERVER = Path(__file__).parent / "servers" / "serve_cluster.py"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Kind:
    """One way to serve.

    :ivar workers: of one parent; 0 for processes of their own, ``processes`` of them.
    :ivar broker: a kind of broker, or ``""`` for Unix sockets.
    """

    name: str
    workers: int = 0
    processes: int = 1
    broker: str = ""


ALONE = Kind("1 process")
KINDS = [
    ALONE,
    Kind("2 workers", workers=2),
    Kind("4 workers", workers=4),
    Kind("2, NATS", workers=2, broker="nats-newest"),
    Kind("2, Redis", workers=2, broker="redis"),
    Kind("2, rooms apart", processes=2),
]


@dataclass
class Run:
    """What one run took: microseconds a delivery of all servers and of the broker."""

    server: float
    broker: float
    missing: float
    median_ms: float = 0.0
    p99_ms: float = 0.0


@dataclass
class Row:
    runs: list[Run] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


def seconds_of(pids: list[int]) -> float:
    """Processor time of some processes so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Served:
    """The processes of a kind, with their ports."""

    def __init__(self, kind: Kind, url: str, stack: contextlib.ExitStack) -> None:
        self.ports: list[int] = []
        self.pids: list[int] = []
        apart = ["apart"] if kind.processes > 1 else []
        for _ in range(kind.processes):
            command = [sys.executable, str(SERVER), str(kind.workers), url, *apart]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            stack.callback(self._end, process)
            assert process.stdout is not None
            found = re.search(r":(\d+) with", process.stdout.readline())
            assert found is not None, "the server did not start"
            self.ports.append(int(found[1]))
            self.pids += children(process.pid) if kind.workers else [process.pid]

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def served(kind: Kind) -> Iterator[tuple[Served, list[int]]]:
    """Serve; with the pids of the broker, if there is one."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hisock-bench-")))
        url, brokers = "-", []
        if kind.broker:
            broker = Broker(kind.broker, folder)
            stack.callback(broker.kill)
            url, brokers = broker.url, [broker.pid]
        elif kind.processes > 1:
            url = f"local:{folder}"
        yield Served(kind, url, stack), brokers


def generate(
    program: str, ports: list[int], conns: int, **options: object
) -> list[dict[str, float]]:
    """Run a load generator for each port at the same time."""
    results: list[dict[str, float]] = []

    def one(port: int) -> None:
        given = {"wire": "hisock", "port": port, "conns": conns // len(ports), "settle": 0.5}
        command = [str(compiling.generator(program)), "--limit", "60"]
        for name, value in {**given, **options}.items():
            command += [f"--{name}", str(value)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=70)
        results.append(json.loads(done.stdout))

    threads = [Thread(target=one, args=(port,)) for port in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if "error" in result:
            raise SystemExit(f"the load generator failed: {result['error']}")
    return results


def measure(kind: Kind, workload: str, players: int, seconds: float) -> Run:
    with served(kind) as (servers, brokers):
        before, broker_before = seconds_of(servers.pids), seconds_of(brokers)
        if workload == "players":
            options: dict[str, object] = {"size": 32, "rate": 20, "room-size": 20, "inflight": 50}
            results = generate("players", servers.ports, players, seconds=seconds, **options)
        else:
            options = {"size": 64, "outstanding": 32, "inflight": 50}
            results = generate("broadcast", servers.ports, 100, seconds=seconds, **options)
        time.sleep(0.1)  # what is being written is written
        used = seconds_of(servers.pids) - before
        count = sum(one.get("total", one["deliveries"]) for one in results)
        return Run(
            server=used / count * 1e6,
            broker=(seconds_of(brokers) - broker_before) / count * 1e6,
            missing=sum(one.get("missing", 0) for one in results),
            median_ms=max(one.get("median_ms", 0) for one in results),
            p99_ms=max(one.get("p99_ms", 0) for one in results),
        )


def rounds(
    workload: str, kinds: list[Kind], players: int, count: int, seconds: float
) -> dict[str, Row]:
    rows = {kind.name: Row() for kind in kinds}
    for _ in range(count):
        alone = 0.0
        for kind in kinds:
            run = measure(kind, workload, players, seconds)
            if kind is ALONE:
                alone = run.server
            rows[kind.name].runs.append(run)
            rows[kind.name].ratios.append(run.server / alone)
    return rows


def show(title: str, rows: dict[str, Row]) -> None:
    print(f"\n{title}\n")
    print("| | server µs a delivery | ratio | broker µs | missing | p50 / p99 ms |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        middle = {
            what: statistics.median(getattr(run, what) for run in row.runs)
            for what in ("server", "broker", "missing", "median_ms", "p99_ms")
        }
        ratio = statistics.median(row.ratios)
        spread = f"{min(row.ratios):.2f} to {max(row.ratios):.2f}"
        print(
            f"| {name} | {middle['server']:.2f} | {ratio:.2f} ({spread}) | {middle['broker']:.2f} "
            f"| {middle['missing']:.0f} | {middle['median_ms']:.1f} / {middle['p99_ms']:.1f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--players", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--workload", choices=["players", "broadcast"], action="append")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    kinds = [kind for kind in KINDS if not given.only or kind.name in given.only.split(";")]
    if ALONE not in kinds:
        kinds.insert(0, ALONE)
    for workload in given.workload or ["players", "broadcast"]:
        some = [kind for kind in kinds if workload == "players" or kind.processes == 1]
        rows = rounds(workload, some, given.players, given.rounds, given.seconds)
        title = f"{given.players} players in rooms of 20" if workload == "players" else "broadcast"
        show(f"{title}; load {os.getloadavg()[0]:.1f}", rows)


if __name__ == "__main__":
    main()
