"""Where things are, and the one error that a benchmark reports instead of a figure."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LOADGEN = HERE / "loadgen"
SERVERS = HERE / "servers"
CLIENTS = HERE / "clients"
CACHE = ROOT / ".bench"
"""Environments of the peers, compiled programs, logs. Safe to delete; ignored by git."""


def make_cache() -> None:
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")


class BenchError(Exception):
    """This contender could not do this work here; the text goes into the table."""
