"""Compares runs of pytest-benchmark with the committed ratios, whatever the machine.

Usage: python -m bench.ratios RUN.json... [--store]

RUN.json is what ``pytest bench --benchmark-json RUN.json`` wrote, or of one of its files. In each
group of benchmarks the shortest time of ours, of all runs, is divided by that of a reference, since
other programs disturb that least. These ratios are compared with ``ratios.json``, and those that
grew by more than a third are an error. ``--store`` replaces the committed ones by these.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("ratios.json")
GROWTH = 4 / 3
#: Ratios below that are not compared: the clock counts those in a few of its steps.
LEAST = 0.05
#: What ours is divided by: the first that is in the group.
REFERENCES = {
    "hisock json": ("msgspec json",),
    "hisock msgpack": ("msgspec msgpack",),
    "compiled": ("msgpack",),
    "python": ("msgpack",),
}


def shortest(runs: Sequence[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """The shortest time of each that is compared, by group and name."""
    least: dict[tuple[str, str], float] = {}
    for each in chain.from_iterable(run["benchmarks"] for run in runs):
        parameters = re.sub(r"^.*\[|\]$", "", each["name"])
        for name in sorted({*REFERENCES, *sum(REFERENCES.values(), ())}, key=len, reverse=True):
            if re.search(rf"(^|-){re.escape(name)}(-|$)", parameters):
                key = each["group"], name
                least[key] = min(each["stats"]["min"], least.get(key, math.inf))
                break
    return least


def ratios(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The ratio of each of ours to its reference, by group and name."""
    least = shortest(runs)
    found: dict[str, float] = {}
    for (group, name), time in least.items():
        for reference in REFERENCES.get(name, ()):
            if (group, reference) in least:
                found[f"{group}, {name}"] = round(time / least[group, reference], 3)
                break
    return found


def main() -> int:
    store = "--store" in sys.argv[1:]
    files = [argument for argument in sys.argv[1:] if argument != "--store"]
    if not files or any(file.startswith("-") for file in files):
        print(__doc__, file=sys.stderr)
        return 2
    now = ratios([json.loads(Path(file).read_text("utf-8")) for file in files])
    committed: dict[str, float] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    if store:
        FILE.write_text(json.dumps({**committed, **now}, indent=1, sort_keys=True) + "\n")
        print(f"{len(now)} ratios are in {FILE.name}; commit it")
        return 0
    grown = []
    for name, ratio in now.items():
        then = committed.get(name)
        if then is None:
            print(f"  {name:<40} {ratio:6.2f}   not committed")
            continue
        verdict = "GREW" if ratio > max(then * GROWTH, LEAST) else "ok"
        if verdict == "GREW":
            grown.append(name)
        print(f"  {name:<40} {then:6.2f} -> {ratio:6.2f}   {verdict}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
