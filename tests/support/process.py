"""Child processes whose output a test reads line by line."""

from __future__ import annotations

import atexit
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Seconds that a program may take to say or do something: imports take long on a busy machine.
PROGRAM_PATIENCE = 30.0


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens.

    2.0.2 does not tell the port that the system chose for it, so its programs get one here. It is
    taken from below the ranges that systems choose client ports from.
    """
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def environment(**changes: str | None) -> dict[str, str]:
    """The environment for a child: this one's, unbuffered UTF-8, with changes."""
    child = dict(os.environ)
    child.pop("PYTHONPATH", None)
    child.update(PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8", PYTHONUTF8="1")
    for name, value in changes.items():
        if value is None:
            child.pop(name, None)
        else:
            child[name] = value
    return child


_started: list[subprocess.Popen[str]] = []


@atexit.register
def _end_all() -> None:
    """Children of tests that failed half-way."""
    for process in _started:
        if process.poll() is None:
            process.kill()


class Program:
    """A running child. Its standard output and error are collected line by line.

    Use it as a context manager: leaving the block ends the child if it still runs.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = " ".join(Path(part).name for part in command if str(part).endswith(".py"))
        creation: dict[str, Any] = {}
        if sys.platform == "win32":
            creation["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
        self._process = subprocess.Popen(
            [str(part) for part in command],
            env=dict(env) if env is not None else environment(),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **creation,
        )
        _started.append(self._process)
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._errors: list[str] = []
        self._open_pipes = 2
        self._read = 0
        for pipe, lines in (
            (self._process.stdout, self._lines),
            (self._process.stderr, self._errors),
        ):
            threading.Thread(target=self._collect, args=(pipe, lines), daemon=True).start()

    def _collect(self, pipe: Any, lines: list[str]) -> None:
        with pipe:
            for line in pipe:
                with self._changed:
                    lines.append(line.rstrip("\r\n"))
                    self._changed.notify_all()
        with self._changed:
            self._open_pipes -= 1
            self._changed.notify_all()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lines(self) -> list[str]:
        """Standard output so far."""
        with self._changed:
            return list(self._lines)

    @property
    def errors(self) -> str:
        """Standard error so far."""
        with self._changed:
            return "\n".join(self._errors)

    def wait_line(self, pattern: str, timeout: float = PROGRAM_PATIENCE) -> str:
        """The next line of output that matches; the lines before it are skipped for good."""
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                while self._read < len(self._lines):
                    line = self._lines[self._read]
                    self._read += 1
                    if wanted.search(line):
                        return line
                if self._open_pipes < 2 and self._process.poll() is not None:
                    raise AssertionError(self._report(f"ended before printing {pattern!r}"))
                if not self._changed.wait(max(deadline - time.monotonic(), 0)):
                    raise AssertionError(self._report(f"did not print {pattern!r}"))

    def tell(self, line: str) -> None:
        """A line for its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def wait(self, timeout: float = PROGRAM_PATIENCE) -> int:
        """Wait until it ends and everything it said is collected; its exit code."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._report("did not end")) from None
        with self._changed:
            self._changed.wait_for(lambda: self._open_pipes == 0, timeout)
        return code

    def finish(self, timeout: float = PROGRAM_PATIENCE) -> list[str]:
        """Wait until it ends by itself, with exit code 0; everything it printed."""
        code = self.wait(timeout)
        assert code == 0, self._report(f"exit code {code}")
        return self.lines

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        if sys.platform == "win32":
            self._process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            self._process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        self._process.terminate()

    def kill_alone(self) -> None:
        """End it at once, without waiting for others that write to the same pipes."""
        self._process.kill()
        self._process.wait(PROGRAM_PATIENCE)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PROGRAM_PATIENCE)
        with self._changed:
            self._changed.wait_for(lambda: self._open_pipes == 0, PROGRAM_PATIENCE)
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass

    def _report(self, what: str) -> str:
        output = "\n".join(self._lines)
        errors = "\n".join(self._errors)
        return f"{self.name} {what}\n--- stdout\n{output}\n--- stderr\n{errors}"
