"""A virtual environment for each peer, made once and kept under .bench/."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from .places import CACHE, BenchError

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "aiofastnet": ("aiofastnet", "uvloop", "msgspec"),
    "hisock202": ("hisock==2.0.2",),
    "picows": ("picows>=2", "uvloop", "msgspec"),
    "aiohttp": ("aiohttp>=3.14", "uvloop"),
    "websockets": ("websockets>=15", "uvloop", "msgspec", "orjson"),
    "socketio": (
        "python-socketio>=5",
        "uvicorn[standard]",
        "uvloop",
        "aiohttp",
        "redis[hiredis]",
    ),
    "floors": ("uvloop",),
    "charts": ("matplotlib",),
}


def python_of(name: str, *, refresh: bool = False) -> Path:
    """The interpreter of environment `name`, made first if it is missing or not what is asked for.

    Versions are those that pip finds at that time; the report states them. `refresh` makes it anew.
    """
    home = CACHE / "envs" / name
    python = home / "bin" / "python"
    stamp = home / "made-for.json"
    wanted = json.dumps([sys.version, *REQUIREMENTS[name]])
    if not refresh and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making environment {name}: {' '.join(REQUIREMENTS[name])}", file=sys.stderr, flush=True)
    shutil.rmtree(home, ignore_errors=True)
    _call([sys.executable, "-m", "venv", str(home)])
    _call(
        [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            *REQUIREMENTS[name],
        ]
    )
    stamp.write_text(wanted)
    return python


def make(names: Iterable[str], *, refresh: bool) -> dict[str, Path]:
    """All of them, each once."""
    return {name: python_of(name, refresh=refresh) for name in dict.fromkeys(names)}


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
