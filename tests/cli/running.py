"""The command in this process, where a process of its own would show no more."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from typing import NamedTuple

import pytest

from hisock._cli.main import main


class Done(NamedTuple):
    """What came of a command."""

    returncode: int
    stdout: str
    stderr: str


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: str, script: str = "") -> Done:
    """Run the command with these words, and with a script as its input."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO(script))
    monkeypatch.setenv("COLUMNS", "120")
    logger = logging.getLogger("hisock.client")
    level, status = logger.level, 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(list(arguments))
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
    finally:
        logger.setLevel(level)
    return Done(status, out.getvalue(), err.getvalue())
