"""Commands that nobody handles: counted by name, and told of once each."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable

from hisock._core.reporting import one_line

#: Names that are counted one by one. A peer chooses them.
MOST_NAMES = 100
#: Where all others are counted.
OTHERS = "(others)"
#: Characters of a command that is compared, or told; and how many others it is compared with.
_LONGEST = 80
_MOST_COMPARED = 500


class Unhandled:
    """The commands of one server or client that came in vain.

    :param log: the logger to tell of them.
    :param known: the commands that are handled.
    :ivar counts: how often each came; those beyond the first hundred are counted together.
    """

    def __init__(self, log: logging.Logger, known: Callable[[], Iterable[str]]) -> None:
        self._log = log
        self._known = known
        self.counts: dict[str, int] = {}

    def note(self, command: str) -> str:
        """Count a command, and log the first of its name; returns what is wrong with it."""
        name = one_line(command, _LONGEST)
        if name not in self.counts and len(self.counts) >= MOST_NAMES:
            name = OTHERS
        times = self.counts[name] = self.counts.get(name, 0) + 1
        text = self.describe(command)
        if times == 1 and name != OTHERS:
            self._log.warning("%s", text)
        return text

    def describe(self, command: str) -> str:
        """What is wrong with a command, and which one may have been meant."""
        text = f"there is no handler for {one_line(command, _LONGEST)!r}"
        nearest = self.nearest(command)
        return text if nearest is None else f"{text}; did you mean {nearest!r}?"

    def nearest(self, command: str) -> str | None:
        """The handled command that looks most like another."""
        if len(command) > _LONGEST:
            return None
        lengths = range(len(command) // 2, 2 * len(command) + 1)
        similar = [name for name in self._known() if len(name) in lengths and name != "*"]
        found = difflib.get_close_matches(command, similar[:_MOST_COMPARED], n=1)
        return found[0] if found else None
