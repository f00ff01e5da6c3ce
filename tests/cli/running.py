"""The command in this process, where a process of its own would show no more, and servers of it."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from support.process import Program, environment

import hisock
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


def serve(folder: Path, *arguments: str) -> Program:
    """``hisock serve`` in a folder, with hisock as it is here."""
    env = environment(PYTHONPATH=str(Path(hisock.__file__).parents[1]))
    return Program([sys.executable, "-m", "hisock", "serve", *arguments], env, cwd=folder)
