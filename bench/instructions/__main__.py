"""python -m bench.instructions check | show | baseline

check compares with the committed baseline and fails on growth; show only prints; baseline makes the
counts of this run the baseline of this minor version of Python (commit the file).

Exit status of check: 0 fine, or skipped because valgrind is missing outside CI; 1 a count grew;
2 nothing could be checked.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys

from hisock import framing

from . import baseline, counting


def check(counts: dict[str, int]) -> int:
    """Prints the comparison; the exit status."""
    entry = baseline.load().get(baseline.minor())
    if entry is None:
        show(counts)
        print(
            f"no baseline for Python {baseline.minor()}: run python -m bench.instructions baseline"
        )
        return 2
    others = baseline.differences(entry)
    allowed = baseline.OTHER_BUILD if others else baseline.SAME_BUILD
    if others:
        print(
            f"The baseline is from another build, so growth up to {allowed - 1:.0%} is let through:"
        )
        print("\n".join(f"  {line}" for line in others))
    grown = []
    for name, now in counts.items():
        then = entry["instructions"].get(name)
        if then is None:
            print(f"  {name:<13} {now:>7,}  not in the baseline of this Python; make it anew")
            grown.append(name)
            continue
        verdict = "GREW" if now > then * allowed else "ok"
        if verdict == "GREW":
            grown.append(name)
        elif now < then / allowed:
            verdict = "ok; so much less that the baseline should be made anew"
        print(f"  {name:<13} {then:>7,} -> {now:>7,}  {now / then - 1:+7.1%}  {verdict}")
    if grown:
        print(
            f"More than {allowed - 1:.0%} more instructions than the baseline: {', '.join(grown)}."
        )
        print("If that is worth it, say why and commit a new baseline (bench/README.md).")
    return 1 if grown else 0


def show(counts: dict[str, int]) -> None:
    for name, instructions in counts.items():
        print(f"  {name:<13} {instructions:>7,} instructions   {counting.MEANING[name]}")


def main() -> int:
    commands = ("check", "show", "baseline")
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    if shutil.which("valgrind") is None:
        print("valgrind is not installed, nothing was counted")
        return 2 if os.environ.get("CI") or sys.argv[1] != "check" else 0
    if framing.IMPLEMENTATION != "compiled":
        print("the framing core is not compiled, nothing was counted")
        return 2
    counts = counting.count()
    print(
        f"Instructions, Python {platform.python_version()}, framing core {framing.IMPLEMENTATION}"
    )
    if sys.argv[1] == "check":
        return check(counts)
    show(counts)
    if sys.argv[1] == "baseline":
        baseline.store(counts)
        print(f"written to {baseline.FILE.name}; commit it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
