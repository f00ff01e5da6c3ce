"""A program at a pseudo-terminal, and what its screen shows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import pytest

from support.events import PATIENCE
from support.process import environment


class Terminal:
    """Runs a program at a terminal of its own, of 100 by 30 characters.

    Use it as a context manager: leaving the block ends the program if it still runs.
    """

    def __init__(self, command: Sequence[str]) -> None:
        pexpect = pytest.importorskip("pexpect")
        pyte = pytest.importorskip("pyte")
        self._ended = (pexpect.EOF, OSError)
        self._nothing = pexpect.TIMEOUT
        self._screen = pyte.Screen(100, 30)
        self._stream = pyte.Stream(self._screen)
        # The program would ask where the cursor is, and this terminal does not answer.
        env: Any = environment(TERM="xterm-256color", PROMPT_TOOLKIT_NO_CPR="1")
        self._child = pexpect.spawn(
            command[0],
            list(command[1:]),
            env=env,
            encoding="utf-8",
            dimensions=(30, 100),
        )
        self._child.delaybeforesend = None

    @property
    def text(self) -> str:
        """What the screen shows."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def wait_for(self, wanted: str, times: int = 1, timeout: float = PATIENCE) -> None:
        """Wait until the screen shows a text, so many times."""
        deadline = time.monotonic() + timeout
        while self.text.count(wanted) < times:
            assert time.monotonic() < deadline, f"{wanted!r} is not on the screen:\n{self.text}"
            try:
                self._stream.feed(self._child.read_nonblocking(65536, timeout=0.5))
            except self._nothing:
                continue
            except self._ended:
                raise AssertionError(f"ended without {wanted!r} on:\n{self.text}") from None

    def press(self, keys: str) -> None:
        self._child.send(keys)

    def status(self, timeout: float = PATIENCE) -> int:
        """Wait for the end of the program; its exit status."""
        self._child.timeout = timeout
        try:
            while True:
                self._stream.feed(self._child.read_nonblocking(65536, timeout=timeout))
        except self._ended:
            self._child.close()
        status = self._child.exitstatus
        assert isinstance(status, int), f"it was ended by signal {self._child.signalstatus}"
        return status

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._child.close(force=True)
