"""Runs work.py under callgrind and reads what it counted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from . import marks

ROOT = Path(__file__).resolve().parents[2]

TIMES = {
    "parse": 5000,
    "parse_single": 5000,
    "build": 5000,
    "dispatch": 2000,
    "alone": 1000,
    "relay": 1000,
    "typed": 2000,
    "typed_batched": 8192,
    "plain": 2000,
    "async": 1000,
    "sleeping": 1000,
    "threaded": 1000,
    "call": 1000,
    "wrapped": 1000,
    "join": 100,
    "leave": 100,
}
"""How often each piece of work is done in its first run; as in work.py and joins.py."""

MEANING = {
    "parse": "parse one 64 B frame of a hundred",
    "parse_single": "parse one 64 B frame, alone",
    "build": "build one 64 B frame",
    "dispatch": "one 64 B message in, through a handler, and back; asyncio, without the kernel",
    "alone": "the same, one message a read; and what the client does to send it",
    "relay": "one 64 B message in and out to a room of 20; asyncio, without the kernel",
    "typed": "63 B of JSON into a Struct, through a handler, and back as JSON",
    "typed_batched": "the same, 512 of them a read",
    "plain": "as typed, as a dict",
    "async": "as dispatch, with an async handler that awaits nothing",
    "sleeping": "as dispatch, with an async handler that awaits asyncio.sleep(0)",
    "threaded": "as dispatch, with a threaded handler",
    "call": "64 B called and returned",
    "wrapped": "as dispatch, with a middleware around the handler",
    "join": "a client accepted, its hello taken and answered; asyncio, without the kernel",
    "leave": "its connection closed by the client",
}

_LIMIT = 600


def count() -> dict[str, int]:
    """Instructions of one of each, by name. Takes about ten seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        library = marks.build(directory)
        command = [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={directory / 'out'}",
            sys.executable,
            "-m",
            f"{__package__}.work",
            str(library),
        ]
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=_LIMIT
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
        totals = totals_in(directory)
    return {
        name: round((totals[f"{name} 2"] - totals[f"{name} 1"]) / n) for name, n in TIMES.items()
    }


def totals_in(directory: Path) -> dict[str, int]:
    found = {}
    for file in directory.glob("out*"):
        text = file.read_text(errors="replace")
        name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
        total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
        if name and total:
            found[name.group(1)] = int(total.group(1))
    return found
