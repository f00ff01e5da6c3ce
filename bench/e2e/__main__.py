"""Command line: python -m bench.e2e quick | full."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from . import environments, machine, report, running
from .contenders import BY_NAME as CONTENDERS
from .places import CACHE, HERE, BenchError, make_cache
from .workloads import BY_NAME as WORKLOADS
from .workloads.base import FULL, QUICK, Bench


def _names(known: dict[str, object], what: str, text: str | None) -> list[str]:
    if text is None:
        return list(known)
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise SystemExit(f"no such {what}: {name}; there are {', '.join(known)}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.e2e", description=__doc__)
    parser.add_argument("mode", choices=("quick", "full"))
    parser.add_argument("--only", metavar="WORKLOADS", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--contenders", metavar="NAMES", help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--rounds", type=int, help="instead of the mode's own number")
    parser.add_argument(
        "--seconds", type=float, help="measured part of a run, instead of the mode's"
    )
    parser.add_argument("--json", type=Path, default=CACHE / "results.json", metavar="FILE")
    parser.add_argument("--charts", type=Path, metavar="DIR", help="draw SVG and PNG charts there")
    parser.add_argument(
        "--hisock-python",
        type=Path,
        default=Path(sys.executable),
        metavar="PYTHON",
        help="interpreter with the hisock to measure (default: this one, with this tree)",
    )
    parser.add_argument("--refresh", action="store_true", help="make the peers' environments anew")
    return parser.parse_args()


def main() -> int:
    if not sys.platform.startswith("linux"):
        print("the load generators use epoll and /proc: Linux only", file=sys.stderr)
        return 2
    arguments = _arguments()
    began = time.monotonic()
    workloads = [WORKLOADS[name] for name in _names(dict(WORKLOADS), "workload", arguments.only)]
    named = None
    if arguments.contenders is not None:
        named = frozenset(_names(dict(CONTENDERS), "contender", arguments.contenders))
    settings = QUICK if arguments.mode == "quick" else FULL
    needed = {
        CONTENDERS[name].environment
        for workload in workloads
        for name in workload.taking_part(settings, named)
    } - {"", "hisock"}
    if arguments.charts:
        needed.add("charts")
    if arguments.seconds:
        settings = replace(settings, seconds=arguments.seconds)
    make_cache()
    load = machine.Load()
    try:
        pythons = environments.make(sorted(needed), refresh=arguments.refresh)
        bench = Bench(machine.look(), settings, {**pythons, "hisock": arguments.hisock_python})
        outcomes = running.run(bench, workloads, named, arguments.rounds)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(report.table(bench.machine, bench.versions, outcomes))
    print(f"\ntook {time.monotonic() - began:.0f} s; {load.describe()}")
    result = report.as_json(bench.machine, bench.versions, outcomes, arguments.mode)
    result["others_busy_cores"] = load.others()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if arguments.charts:
        script = [str(pythons["charts"]), str(HERE / "charts.py")]
        subprocess.run([*script, str(arguments.json), str(arguments.charts)], check=True)
    failed = [row.contender for outcome in outcomes for row in outcome.rows.values() if row.failure]
    return 1 if any(CONTENDERS[name].kind != "peer" for name in failed) else 0


if __name__ == "__main__":
    sys.exit(main())
