"""How the director talks to the processes it started: one JSON object a line, both ways.

Closing a child's standard input is part of the conversation: a child that sees its end leaves.
So no process stays behind, even when the director is killed.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Literal

Message = dict[str, Any]


class DemoError(Exception):
    """The demo could not be carried through; the text says why."""


def say(kind: str, **data: Any) -> None:
    """Child: tell the director something."""
    sys.stdout.write(json.dumps({"kind": kind, **data}) + "\n")
    sys.stdout.flush()


def listen(heard: Callable[[str], None]) -> None:
    """Child: call ``heard`` with each word of the director, in a thread; ``"leave"`` at the end."""

    def read() -> None:
        for line in sys.stdin:
            heard(line.strip())
        heard("leave")

    threading.Thread(target=read, name="director", daemon=True).start()


def allow_open_files(count: int) -> None:
    """Raise the limit of open files of this process to ``count`` and some to spare.

    :raises DemoError: the system does not allow that many.
    """
    try:
        import resource
    except ModuleNotFoundError:  # pragma: no cover - measured on Linux
        return
    wanted = count + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):
        raise DemoError(
            f"{count} connections in one process need {wanted} open files, "
            f"and this system allows {hard}; ask for fewer players"
        ) from None


class Child:
    """A process that the director started.

    :param module: run as ``python -m module settings``, the settings as JSON.
    :param private: variables of its environment, for what other users of the machine may not see.
    :param inbox: where ``(child, message)`` is put for each line that it writes, and
        ``(child, None)`` when it ends.
    """

    def __init__(
        self,
        module: str,
        settings: Message,
        inbox: queue.Queue[tuple[Child, Message | None]],
        private: Mapping[str, str] | None = None,
    ) -> None:
        self.name = module.rpartition(".")[2]
        self._inbox = inbox
        # Kept apart from the screen; shown when the child fails.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(settings)],
            env={**os.environ, **(private or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            # Ctrl-C is for the director, who ends the game in order.
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._inbox.put((self, json.loads(line)))
        self._inbox.put((self, None))

    def tell(self, word: str) -> None:
        """Send one word; a child that has ended does not hear it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except OSError:
            pass

    def end(self, patience: float = 5.0) -> int:
        """Have the process leave, and kill it when it does not within ``patience`` seconds.

        :returns: its exit status.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass
        try:
            status = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._reader.join()
        return status

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-20:])

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        self.end()
        self._errors.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return False
