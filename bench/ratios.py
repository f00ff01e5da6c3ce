"""Compares a run of pytest-benchmark with the committed ratios, whatever the machine.

Usage: python -m bench.ratios RUN.json [--store]

RUN.json is what ``pytest bench/test_codecs.py --benchmark-json RUN.json`` wrote. In each group of
benchmarks the shortest time of ours is divided by that of a reference (other programs disturb the
shortest least). These ratios are compared with ``ratios.json``, and those that grew by more than a
third are an error. ``--store`` replaces the committed ones by those of the run.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("ratios.json")
GROWTH = 4 / 3
#: What ours is divided by: the first that is in the group.
REFERENCES = {
    "hisock json": ("msgspec json",),
    "hisock msgpack": ("msgspec msgpack",),
    "compiled": ("msgpack",),
    "python": ("msgpack",),
}


def ratios(run: dict[str, Any]) -> dict[str, float]:
    """The ratio of each of ours to its reference, by group and name."""
    least: dict[tuple[str, str], float] = {}
    for each in run["benchmarks"]:
        parameters = re.sub(r"^.*\[|\]$", "", each["name"])
        for name in sorted({*REFERENCES, *sum(REFERENCES.values(), ())}, key=len, reverse=True):
            if re.search(rf"(^|-){re.escape(name)}(-|$)", parameters):
                least[each["group"], name] = each["stats"]["min"]
                break
    found: dict[str, float] = {}
    for (group, name), median in least.items():
        for reference in REFERENCES.get(name, ()):
            if (group, reference) in least:
                found[f"{group}, {name}"] = round(median / least[group, reference], 3)
                break
    return found


def main() -> int:
    if len(sys.argv) not in (2, 3) or (len(sys.argv) == 3 and sys.argv[2] != "--store"):
        print(__doc__, file=sys.stderr)
        return 2
    now = ratios(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    committed: dict[str, float] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    if sys.argv[2:]:
        FILE.write_text(json.dumps({**committed, **now}, indent=1, sort_keys=True) + "\n")
        print(f"{len(now)} ratios are in {FILE.name}; commit it")
        return 0
    grown = []
    for name, ratio in now.items():
        then = committed.get(name)
        if then is None:
            print(f"  {name:<40} {ratio:6.2f}   not committed")
            continue
        verdict = "GREW" if ratio > then * GROWTH else "ok"
        if verdict == "GREW":
            grown.append(name)
        print(f"  {name:<40} {then:6.2f} -> {ratio:6.2f}   {verdict}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
