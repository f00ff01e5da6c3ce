"""Builds the source distribution and all wheels, and uses each of them: ``python -m release``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from release import building, checking, pythons
from release.using import use


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("--out", type=Path, default=building.ROOT / "dist", help="the folder")
    parser.add_argument(
        "--python", type=Path, action="append", help="build for this one; all that are found"
    )
    parser.add_argument("--pure", action="store_true", help="only the pure wheel")
    parser.add_argument("--once", action="store_true", help="do not build twice to compare")
    return parser.parse_args()


def build_all(
    folder: Path, interpreters: list[Path], only_pure: bool, pool: Executor
) -> dict[Path, Path]:
    """Build everything into a folder; return each file with the Python that uses it."""
    folder.mkdir(parents=True)
    sdist = building.build_sdist(folder)

    def build(python: Path, pure: bool) -> Path:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            wheel = building.build_wheel(sdist, python, Path(own), pure=pure)
            return Path(shutil.move(wheel, folder / wheel.name))

    pythons = [*([] if only_pure else interpreters), interpreters[-1]]
    compiled, pure = pythons[:-1], pythons[-1]
    *wheels, pure_wheel = pool.map(build, pythons, [False] * len(compiled) + [True])
    return {sdist: pure, pure_wheel: pure, **dict(zip(wheels, compiled, strict=True))}


def main() -> None:
    options = arguments()
    interpreters = options.python or pythons.found()
    if not interpreters:
        raise SystemExit("no supported Python was found; name one with --python")
    if options.out.exists() and any(options.out.iterdir()):
        raise SystemExit(f"{options.out} is not empty: remove it first (make dist does)")
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        scratch = Path(name)
        built = build_all(options.out, interpreters, options.pure, pool)
        checking.check(list(built))
        if not options.once:
            again = build_all(scratch / "again", interpreters, options.pure, pool)
            differ = [
                a.name
                for a, b in zip(built, again, strict=True)
                if checking.digest(a) != checking.digest(b)
            ]
            if differ:
                raise SystemExit(f"two builds differ: {', '.join(differ)}")
        _sdist, pure, *_wheels = built

        def used(wheel: Path) -> str:
            return f"{wheel.name} on {built[wheel]}: {use(wheel, built[wheel], scratch)}"

        for line in pool.map(used, [file for file in built if file.suffix == ".whl"]):
            print(line)
        bill = options.out / "sbom" / f"{pure.name.split('-py3')[0]}.cdx.json"
        checking.write_bill_of_materials(pure, Path(sys.executable), scratch, bill)
    for file in built:
        print(f"{checking.digest(file)}  {file.name}")


if __name__ == "__main__":
    main()
