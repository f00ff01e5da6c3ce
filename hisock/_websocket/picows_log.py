"""The errors of picows, which it tells its logger only."""

from __future__ import annotations

import sys
from typing import Any


class Silence:
    """Stands in for the logger of picows, which reports errors in no other way.

    The server logs what is kept here, limited in number as everything that clients cause.

    :ivar violation: close code and reason of what the client did wrong.
    :ivar failure: what a callback has raised; picows goes on after it.
    :ivar spoken: whether there is a violation or a failure.
    """

    __slots__ = ("failure", "spoken", "violation")

    def __init__(self) -> None:
        self.violation: tuple[int, str] | None = None
        self.failure: Exception | None = None
        self.spoken = False

    def isEnabledFor(self, level: int) -> bool:
        return False

    def log(self, level: int, msg: object, *args: Any) -> None:
        """Discard the line: picows reports errors by :meth:`error` only."""

    def info(self, msg: object, *args: Any) -> None:
        """Discard the line: picows reports errors by :meth:`error` only."""

    debug = warning = info

    def error(self, msg: object, *args: Any) -> None:
        wrong = args[0] if args else ()
        if isinstance(wrong, tuple) and len(wrong) == 2:
            self.violate(int(wrong[0]), str(wrong[1]))
        elif isinstance(raised := sys.exc_info()[1], Exception):
            self.fail(raised)

    exception = error

    def fail(self, raised: Exception) -> None:
        """Keep the first exception that nobody expected."""
        self.failure = self.failure or raised
        self.spoken = True

    def violate(self, code: int, reason: str) -> None:
        """Keep the first thing that is wrong."""
        self.violation = self.violation or (code, reason)
        self.spoken = True
