"""``python -m fuzz TARGET [--seconds N] [libFuzzer options]``: fuzz with atheris.

The Python code of hisock is instrumented, the compiled core is not (that takes clang): what
reaches a new place in the Python decoder is kept, and the compiled one has to agree on all of it.
New inputs go to ``.cache/fuzz``; one that breaks a promise is written to ``fuzz/found``. Put it
into ``fuzz/corpus``, and it is a test from then on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hisock"]):
    from fuzz import targets

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(targets.TARGETS))
    parser.add_argument("--seconds", type=int, default=30, help="how long (30)")
    arguments, options = parser.parse_known_args()
    name: str = arguments.target
    new = HERE.parent / ".cache" / "fuzz" / name
    found = HERE / "found"
    for folder in (new, found):
        folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.argv[0],
        f"-max_total_time={arguments.seconds}",
        f"-artifact_prefix={found}/{name}-",
        "-timeout=20",
        "-print_final_stats=1",
        *options,
        str(new),
        str(HERE / "corpus" / name),
    ]
    atheris.Setup(command, targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
