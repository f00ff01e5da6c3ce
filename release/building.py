"""The source distribution and the wheels: the same bytes, whenever and wherever they are built."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Debugging information holds the path of the build, which differs from one to the next.
_COMPILER_FLAGS = "-g0"


def epoch() -> int:
    """The time of the last commit, in seconds since 1970: the time of every file that is packed."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is not None:
        return int(given)
    command = ["git", "log", "-1", "--format=%ct"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


def run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it prints.

    :raises SystemExit: it failed; its output has been shown.
    """
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch()), **(env or {})}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdout=-1,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(done.stdout)
        raise SystemExit(f"failed: {' '.join(map(str, command))}")
    return done.stdout


def build_sdist(target: Path) -> Path:
    """Build the source distribution."""
    run(sys.executable, "-m", "build", "--sdist", "--outdir", target, cwd=ROOT)
    (archive,) = target.glob("*.tar.gz")
    normalize(archive, epoch())
    return archive


def normalize(archive: Path, when: int) -> None:
    """Pack an archive anew, in order, without times and owners of this machine."""
    temporary = archive.with_suffix(".new")
    with (
        tarfile.open(archive) as old,
        open(temporary, "wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=when) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime = when
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.pax_headers = {}
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    temporary.replace(archive)


def build_wheel(sdist: Path, python: Path, target: Path, *, pure: bool = False) -> Path:
    """Build a wheel from a source distribution.

    :param python: the interpreter that it is for.
    :param pure: leave the compiled core out.
    """
    before = set(target.glob("*.whl"))
    core = {"HISOCK_PURE_PYTHON": "1"} if pure else {"HISOCK_REQUIRE_EXTENSION": "1"}
    flags = f"{os.environ.get('CFLAGS', '')} {_COMPILER_FLAGS}".strip()
    command = (python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-cache-dir")
    run(*command, "--wheel-dir", target, sdist, env={**core, "CFLAGS": flags})
    (wheel,) = set(target.glob("*.whl")) - before
    return wheel if pure else _repaired(wheel)


def _repaired(wheel: Path) -> Path:
    """Name the C library that a wheel for Linux needs in its tag, without which PyPI refuses it."""
    if not sys.platform.startswith("linux"):
        return wheel
    folder = wheel.parent / "repaired"
    tools = Path(sys.executable).parent
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    run(sys.executable, "-m", "auditwheel", "repair", "-w", folder, wheel, env={"PATH": path})
    wheel.unlink()
    (repaired,) = folder.glob("*.whl")
    moved = Path(shutil.move(repaired, wheel.parent / repaired.name))
    folder.rmdir()
    return moved
