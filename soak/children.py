"""Child processes that are asked and answer in lines of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import IO, Any


class Child:
    """A module run as a program of its own; leaving the ``with`` block ends it.

    :param own_session: whether it has a session of its own, which Ctrl-C does not reach.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        stderr: IO[str] | None = None,
        own_session: bool = False,
    ) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=own_session,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        self._stdout = self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> None:
        self._stdin.write(line + "\n")
        self._stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Its next line."""
        line = self._stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended with status {self._process.wait()}")
        told: dict[str, Any] = json.loads(line)
        return told

    def ask(self, question: str = "") -> dict[str, Any]:
        self.tell(question)
        return self.answer()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def wait(self, timeout: float) -> int:
        return self._process.wait(timeout)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()
