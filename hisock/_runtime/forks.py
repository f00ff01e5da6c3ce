"""Servers and clients in a forked child process.

A child has copies of the parent's descriptors, and of every lock in the state in which some thread
left it. The connections remain the parent's: a frame, a shutdown or a change of the loop's selector
from the child would break them. So in the child each object silently forgets its connections.
"""

from __future__ import annotations

import contextlib
import os
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """Something that holds connections."""

    def forget(self) -> None:
        """Drop the parent's connections in a forked child, and become closed."""


_everything: WeakSet[Forgetful] = WeakSet()


def forget_in_children(thing: Forgetful) -> None:
    """Register an object whose :meth:`~Forgetful.forget` is called in every forked child."""
    _everything.add(thing)


def _forget() -> None:
    for thing in list(_everything):
        # One that could not connect, or that another thread is just making, lacks some parts.
        with contextlib.suppress(AttributeError):
            thing.forget()
    _everything.clear()


if hasattr(os, "register_at_fork"):  # Windows cannot fork
    os.register_at_fork(after_in_child=_forget)
