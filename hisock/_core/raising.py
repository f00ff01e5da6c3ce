"""Exceptions that more than one may raise."""

from __future__ import annotations

import copy
from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def fresh(exc: E) -> E:
    """A copy of an exception, to be raised, or to be kept, with what it was raised from.

    One that is raised keeps every traceback, and with these all that the frames hold: where one of
    them holds the exception, that is a reference cycle. So neither of the two has its traceback.
    """
    made = _copied(exc)
    cause = exc.__cause__
    if cause is not None and made is not exc:
        made.__cause__ = _copied(cause)
    return made


def _copied(exc: E) -> E:
    try:
        return copy.copy(exc).with_traceback(None)
    except Exception:
        pass  # its class does not take what its `args` are
    try:
        made = type(exc).__new__(type(exc), *exc.args)
        made.__dict__.update(exc.__dict__)
    except Exception:
        return exc
    return made
