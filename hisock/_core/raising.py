"""Exceptions that more than one may raise."""

from __future__ import annotations

import copy
from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def fresh(exc: E) -> E:
    """A copy of an exception, to be raised, or to be kept.

    One that is raised keeps every traceback, and with these all that the frames hold: where one of
    them holds the exception, that is a reference cycle.
    """
    return copy.copy(exc).with_traceback(None)
