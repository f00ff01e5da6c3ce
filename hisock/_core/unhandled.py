"""Commands without a handler, which are counted by name and logged once each."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection

from hisock._core.log_fields import fields
from hisock._core.reporting import one_line

#: Names that are counted one by one. A peer chooses them.
MOST_NAMES = 100
#: The name under which all others are counted.
OTHERS = "(others)"
#: Characters of a command that are compared or logged.
_LONGEST = 80
#: Names that are compared with those of handlers, and how many of these: that takes up to 5 ms.
MOST_COMPARED = 20
_MOST_SIMILAR = 100


class Unhandled:
    """The unhandled commands of one server or client.

    :param log: the logger.
    :param known: the commands that are handled.
    :ivar counts: how often each came; those beyond the first hundred are counted together.
    """

    def __init__(self, log: logging.Logger, known: Collection[str]) -> None:
        self._log = log
        self._known = known
        self.counts: dict[str, int] = {}
        #: What was said of the names that are counted one by one.
        self._texts: dict[str, str] = {}
        self._waited_for: set[str] = set()

    def waited_for(self, command: str | None) -> None:
        """Log, once, that somebody waits for a command that a handler takes, which is in vain."""
        if command is not None and command in self._known and command not in self._waited_for:
            self._waited_for.add(command)
            text = "what waits for %r gets nothing: a handler takes that command"
            self._log.warning(text, command, extra=fields("wait_in_vain", command=command))

    def note(self, command: str) -> str:
        """Count a command, and log the first of its name; returns what is wrong with it.

        Only the first of a name is compared with the commands that are handled, and of the first
        few names. A peer can repeat commands, and make up new ones, and comparing takes long.
        """
        name = one_line(command, _LONGEST)
        text = self._texts.get(name)
        if text is None and len(self._texts) < MOST_NAMES:
            text = self._texts[name] = self.describe(command)
            said = fields("command_unhandled", command=command, reason=text)
            self._log.warning("%s", text, extra=said)
        elif text is None:
            text, name = no_handler_text(command), OTHERS
        self.counts[name] = self.counts.get(name, 0) + 1
        return text

    def describe(self, command: str) -> str:
        """What is wrong with a command, and which one may have been meant."""
        text = no_handler_text(command)
        nearest = self.nearest(command) if len(self._texts) < MOST_COMPARED else None
        return text if nearest is None else f"{text}; did you mean {nearest!r}?"

    def nearest(self, command: str) -> str | None:
        """The handled command that looks most like another."""
        if len(command) > _LONGEST:
            return None
        length = len(command)
        similar = [name for name in list(self._known) if length <= 2 * len(name) and name != "*"]
        similar.sort(key=lambda name: abs(len(name) - length))
        found = difflib.get_close_matches(command, similar[:_MOST_SIMILAR], n=1)
        return found[0] if found else None


def no_handler_text(command: str) -> str:
    """What is wrong with a command, cut: a peer may send millions of characters."""
    return f"there is no handler for {one_line(command, _LONGEST)!r}"
