"""The committed counts, one set per minor version of Python, and what they were counted with."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import TypedDict

FILE = Path(__file__).with_name("baseline.json")

SAME_BUILD = 1.10
OTHER_BUILD = 1.25
"""Growth that is let through. Compilers, their flags and the interpreter's build move the counts by
up to a sixth without any change of ours, so the baseline of another build only catches more."""


class Entry(TypedDict):
    build: dict[str, str]
    instructions: dict[str, int]


def this_build() -> dict[str, str]:
    """Everything known to move the counts besides our code. valgrind shows programs no vector units
    beyond AVX2, so with that much the model of the CPU does not matter."""
    options = shlex.split(sysconfig.get_config_var("CONFIG_ARGS") or "")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return {
        "python": platform.python_version(),
        # Without what names a place: that differs from machine to machine and changes no code.
        "flags": " ".join(
            f for f in str(sysconfig.get_config_var("CFLAGS")).split() if "/" not in f
        ),
        "configured": " ".join(o for o in options if o.startswith("--") and "=" not in o),
        "compiler": _first_line([compiler, "--version"]),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "valgrind": _first_line(["valgrind", "--version"]),
    }


def minor() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def load() -> dict[str, Entry]:
    if not FILE.exists():
        return {}
    entries: dict[str, Entry] = json.loads(FILE.read_text())
    return entries


def store(counts: dict[str, int]) -> None:
    """Makes `counts` the baseline of this minor version; the others stay."""
    entries = load()
    entries[minor()] = {"build": this_build(), "instructions": counts}
    ordered = dict(sorted(entries.items(), key=lambda item: tuple(map(int, item[0].split(".")))))
    FILE.write_text(json.dumps(ordered, indent=2) + "\n")


def differences(entry: Entry) -> list[str]:
    """In what the baseline's build is another one than this: empty when it is the same."""
    here = this_build()
    return [
        f"{key}: {entry['build'].get(key)} then, {here[key]} now"
        for key in here
        if entry["build"].get(key) != here[key]
    ]


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return "unknown"
    return done.stdout.partition("\n")[0]
