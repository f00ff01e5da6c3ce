"""Runs programs written for 2.0.2 on 2.0.2 and on ours, in every combination."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from support import OldHiSock, Program, free_port
from support.fixtures import Run

PROGRAMS = Path(__file__).parent / "programs"

#: What the server's process runs on, and what the clients' run on.
PAIRS = [("ours", "ours"), ("2.0.2", "2.0.2"), ("ours", "2.0.2"), ("2.0.2", "ours")]
#: That 2.0.2 does with itself what a test expects is shown once.
every_pair = pytest.mark.parametrize(
    "pair",
    [
        pytest.param(
            pair, id=f"{pair[1]} on {pair[0]}", marks=[pytest.mark.once] * ("ours" not in pair)
        )
        for pair in PAIRS
    ],
)
each_alone = pytest.mark.parametrize(
    "version", ["ours", pytest.param("2.0.2", marks=pytest.mark.once)]
)


class Stage:
    """Starts programs; all that run on it use one port."""

    def __init__(self, run_on_ours: Run, old: OldHiSock, stack: ExitStack) -> None:
        self._run_on_ours = run_on_ours
        self._old = old
        self._stack = stack
        self.port = str(free_port())

    def start(self, version: str, script: str, *arguments: str) -> Program:
        """Run a program with the port and further arguments."""
        run = self._run_on_ours if version == "ours" else self._old.start
        return self._stack.enter_context(run(PROGRAMS / script, self.port, *arguments))

    def serve(self, pair: tuple[str, str], script: str) -> Program:
        """Run the server of a pair; it is ready on return."""
        server = self.start(pair[0], script)
        server.wait_line("^ready$")
        return server


def finished(client: Program, version: str) -> list[str]:
    """Wait until a client that closes itself in a thread ends; what it printed, up to ``over``.

    A 2.0.2 client that is closed in another thread than the one that reads may find its connection
    reset by the goodbye of the server, whichever server it is, and end with a traceback.
    """
    if version == "ours":
        quiet(client)
        return client.finish()
    client.wait()
    reset = "ServerNotRunning: Server has stopped running" in client.errors
    assert reset or "Traceback" not in client.errors, client.errors
    lines = client.lines
    return lines if "over" in lines else [*lines, "over"]


def quiet(*programs: Program) -> None:
    """None of them complained."""
    for program in programs:
        assert "Traceback" not in program.errors, program.errors
