"""Exceptions that more than one may raise."""

from __future__ import annotations

from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def fresh(exc: E) -> E:
    """A copy of an exception, to be raised, or to be kept, with what it was raised from.

    One that is raised keeps every traceback, and with these all that the frames hold: where one of
    them holds the exception, that is a reference cycle. So neither of the two has its traceback.
    """
    # Not by copy.copy(), which calls the class: what it takes need not be what `args` holds.
    made = type(exc).__new__(type(exc), *exc.args)
    made.args = exc.args
    made.__dict__.update(exc.__dict__)
    if exc.__cause__ is not None and exc.__cause__ is not exc:
        made.__cause__ = fresh(exc.__cause__)
    return made
