"""The Pythons of this machine that hisock supports."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

#: Minor versions of Python 3 that wheels are built for.
MINORS = range(10, 15)

_SAYS = "import sys; print(sys.implementation.name, *sys.version_info[:2])"


def found() -> list[Path]:
    """Return one CPython for each supported version that is on the path or known to pyenv."""
    by_version: dict[str, Path] = {}
    for path in _candidates():
        version = _version(path)
        if version is not None:
            by_version.setdefault(version, path)
    return [by_version[version] for version in _in_order() if version in by_version]


def _in_order() -> list[str]:
    return [f"cpython 3 {minor}" for minor in MINORS]


def _candidates() -> Iterator[Path]:
    for minor in MINORS:
        on_path = shutil.which(f"python3.{minor}")
        if on_path is not None:
            yield Path(on_path)
    for name in ("python3", "python"):
        on_path = shutil.which(name)
        if on_path is not None:
            yield Path(on_path)
    if shutil.which("pyenv") is not None:
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True)
        yield from sorted(Path(root.stdout.strip(), "versions").glob("3.*/bin/python"))


def _version(path: Path) -> str | None:
    """What an interpreter says of itself; nothing if it does not run, as shims may not."""
    done = subprocess.run([path, "-c", _SAYS], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
