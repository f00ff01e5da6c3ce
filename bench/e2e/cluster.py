"""What a cluster costs: processor time of all servers for each delivery, against one process.

    python -m bench.e2e.cluster [--players 1200] [--rounds 3] [--seconds 4] [--only NAME;...]

Rooms of 20 players that move 20 times a second, spread over the workers by the kernel, which is
the worst case: with 2 workers half of the deliveries cross, with 4 three quarters. ``apart`` keeps
each room in one process. The brokers are those of the tests.

A process with less to do writes fewer messages at once, and pays more for each. So there are two
ratios: to one process with all players, and to as many processes that know nothing of each other.
Ratios are taken within a round, and the medians of the rounds are shown.

A broadcast goes to ``--listeners`` clients, with 32 messages on their way, or ``--rate`` a second,
so that all kinds do the same work. Clients of the sender's process get a message before the others,
and what they have got makes way for the next ones, which come one by one then; with ``--whole`` a
message is on its way until all have got it. Processes without a cluster each have a share of the
clients and a sender of its own, which sends as much: each client gets as many messages.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from threading import Thread

from . import compiling
from .cluster_calls import rows_of_calls
from .cluster_servers import (
    ALONE,
    KINDS,
    PEER_PLAYERS,
    PEERS,
    WITH_REDIS,
    Kind,
    Meter,
    Served,
    served,
)

Results = list[dict[str, float]]

#: Processors that may be busy with something else during a run.
MOST_OTHERS = 0.35


@dataclass
class Run:
    """What one run took: microseconds a delivery of all servers and of the broker.

    :ivar late: whether more than one delivery in fifty took over 50 ms, so that it was ended early.
    :ivar others: processors that were busy with something else.
    """

    server: float
    broker: float
    missing: float
    median_ms: float = 0.0
    p99_ms: float = 0.0
    frames: float = 0.0
    lost: float = 0.0
    a_write: float = 0.0
    late: float = 0.0
    others: float = 0.0


@dataclass
class Row:
    runs: list[Run] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    to_apart: list[float] = field(default_factory=list)


def generate(program: str, ports: list[int], conns: int, wire: str, **options: object) -> Results:
    """Run a load generator for each port at the same time."""
    results: Results = []
    generator = str(compiling.generator(program))  # not in two threads at once

    def one(port: int) -> None:
        given = {"wire": wire, "port": port, "conns": conns // len(ports), "settle": 0.5}
        command = [generator, "--limit", "60"]
        for name, value in {**given, **options}.items():
            command += [f"--{name}"] if value is None else [f"--{name}", str(value)]
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


def load(servers: Served, workload: str, given: argparse.Namespace, share: float) -> Results:
    """Put the load of a workload on servers.

    :param share: of the players.
    """
    seconds, wire = given.seconds, servers.wire
    options: dict[str, object]
    if workload != "broadcast":
        players = round(given.players * share)
        options = {"size": 32, "rate": 20, "room-size": 20, "inflight": 50}
        return generate("players", servers.ports, players, wire, seconds=seconds, **options)
    options = {"size": 64, "outstanding": 0 if given.rate else 32, "rate": given.rate}
    if given.whole:
        options["whole"] = None
    listeners = given.listeners
    return generate(
        "broadcast", servers.ports, listeners, wire, seconds=seconds, inflight=50, **options
    )


def measure(kind: Kind, workload: str, given: argparse.Namespace) -> Run:
    with served(kind) as (servers, brokers), Meter(servers.pids, brokers) as meter:
        results = load(servers, workload, given, kind.share)
        time.sleep(1.3)  # figures are written
        entries, batches, *lost, writes = servers.crossed()
        # Clients that join and leave are left out: how much they weigh depends on how long it took.
        began = min(one["began"] for one in results)
        ended = max(one["began"] + one["seconds"] for one in results)
        used, of_brokers, of_all = meter.between(began, ended)
        generators = sum(one["generator_cpu"] * one["seconds"] for one in results)
        count = sum(one["deliveries"] for one in results)
        deliveries = sum(one.get("total", one["deliveries"]) for one in results)
        return Run(
            server=used / count * 1e6,
            broker=of_brokers / count * 1e6,
            missing=sum(one.get("missing", 0) for one in results),
            median_ms=max(one.get("median_ms", 0) for one in results),
            p99_ms=max(one.get("p99_ms", 0) for one in results),
            frames=entries / batches if batches else 0.0,
            lost=sum(lost),
            a_write=deliveries / writes if writes else 0.0,
            late=sum(one.get("gave_up", 0) for one in results),
            others=(of_all - used - of_brokers - generators) / (ended - began),
        )


def calm_run(kind: Kind, workload: str, given: argparse.Namespace) -> Run:
    """A run; again, up to twice, if it was late or others were busy meanwhile."""
    for _ in range(2):
        run = measure(kind, workload, given)
        if not run.late and run.others < MOST_OTHERS:
            return run
    return measure(kind, workload, given)


def rounds(workload: str, kinds: list[Kind], given: argparse.Namespace) -> dict[str, Row]:
    rows = {kind.name: Row() for kind in kinds}
    for _ in range(given.rounds):
        alone, apart = 0.0, {}
        for kind in kinds:
            run = calm_run(kind, workload, given)
            row = rows[kind.name]
            if kind in (ALONE, WITH_REDIS):
                alone = run.server
            if not kind.cluster:
                apart[kind.servers] = run.server
            row.runs.append(run)
            row.ratios.append(run.server / alone)
            if kind.servers in apart:
                row.to_apart.append(run.server / apart[kind.servers])
    return rows


COLUMNS = {
    "server µs a delivery": "server",
    "broker µs": "broker",
    "frames a batch": "frames",
    "deliveries a write": "a_write",
    "missing": "missing",
    "counted lost": "lost",
    "p50 ms": "median_ms",
    "p99 ms": "p99_ms",
    "too late": "late",
    "others' cores": "others",
}


def middle_of(ratios: list[float]) -> str:
    """The median of some ratios, with their spread."""
    if not ratios:
        return ""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def show(title: str, rows: dict[str, Row]) -> None:
    titles = ["ratio", "to as many apart", *COLUMNS]
    print(f"\n{title}\n\n| | {' | '.join(titles)} |\n|---{'|---' * len(titles)}|")
    for name, row in rows.items():
        cells = [middle_of(row.ratios), middle_of(row.to_apart)]
        for what in COLUMNS.values():
            middle = statistics.median(getattr(run, what) for run in row.runs)
            cells.append(f"{middle:.0f}" if middle > 50 else f"{middle:.2f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def hears_broadcasts(kind: Kind) -> bool:
    """Whether all clients get what is broadcast, from one of them or one for each process."""
    return kind.share == 1 and (kind.processes == 1 or not kind.cluster)


WORKLOADS = ["players", "broadcast", "calls", "peers"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--players", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--workload", choices=WORKLOADS, action="append")
    parser.add_argument("--listeners", type=int, default=100)
    parser.add_argument("--rate", type=int, default=0, help="broadcasts a second; 0: 32 on the way")
    parser.add_argument("--whole", action="store_true", help="32 that not all have got yet")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    kinds = [kind for kind in KINDS if not given.only or kind.name in given.only.split(";")]
    if ALONE not in kinds:
        kinds.insert(0, ALONE)
    for workload in given.workload or WORKLOADS:
        busy = f"load {os.getloadavg()[0]:.1f}"
        if workload == "calls":
            print(f"\ncalls; {busy}\n\n{rows_of_calls()}", flush=True)
            continue
        if workload == "peers":
            for players in PEER_PLAYERS:
                own = argparse.Namespace(**{**vars(given), "players": players})
                show(f"{players} players; {busy}", rounds(workload, PEERS, own))
            continue
        some, title = kinds, f"{given.players} players in rooms of 20"
        if workload == "broadcast":
            some = [kind for kind in kinds if hears_broadcasts(kind)]
            pace = f"{given.rate} a second" if given.rate else "32 on their way"
            title = f"broadcast to {given.listeners}, {pace}"
        show(f"{title}; {busy}", rounds(workload, some, given))


if __name__ == "__main__":
    main()
