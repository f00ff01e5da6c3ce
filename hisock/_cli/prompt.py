"""The prompt of ``hisock connect``: a line editor with completion and history."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

from hisock._cli.shell import HELP, Shell

VERBS = sorted({usage.split()[0] for usage in HELP if usage.startswith("/")})
_TAKES_COMMAND = ("/call", "/stream", "/send", "/text", "/recv")


class _Words(Completer):
    """Completes verbs, commands that were seen, and names of clients."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor.lstrip()
        first, space, rest = before.partition(" ")
        if not space:
            known: Iterable[str] = [*VERBS, *self._shell.commands] if first else VERBS
            word = first
        elif first in _TAKES_COMMAND and " " not in rest:
            known, word = self._shell.commands, rest
        elif first == "/who":
            known, word = self._shell.names, rest
        else:
            return
        for each in sorted(known):
            if each.startswith(word):
                yield Completion(each, start_position=-len(word))


class Prompt:
    """Reads lines from the terminal.

    :param shell: knows what can be completed.
    :param name: shown in the prompt.
    :param history: keeps the lines from one time to the next; ``None`` forgets them.
    """

    def __init__(self, shell: Shell, name: str | None, history: Path | None) -> None:
        self._session: PromptSession[str] = PromptSession(
            f"{name or 'hisock'}> ",
            completer=_Words(shell),
            complete_while_typing=False,
            history=_history(history),
        )

    def patched(self) -> contextlib.AbstractContextManager[Any]:
        """What is printed meanwhile goes above the prompt."""
        return patch_stdout(raw=True)

    async def read(self) -> str | None:
        """The next line; ``None`` for Ctrl-D and Ctrl-C."""
        try:
            return await self._session.prompt_async()
        except (EOFError, KeyboardInterrupt):
            return None


def _history(path: Path | None) -> History:
    """A file that only its owner can read: what is typed may hold secrets."""
    if path is None:
        return InMemoryHistory()
    path = path.expanduser()
    try:
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
