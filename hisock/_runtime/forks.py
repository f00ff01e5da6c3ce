"""What becomes of connections in a child that the process forks.

A child has copies of the parent's descriptors, and of every lock as some thread held it. The
connections go on being the parent's: a goodbye, an end or a look into the loop's selector from the
child would break them. So in the child each object forgets what it had, without a word.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """Something that holds connections."""

    def forget(self) -> None:
        """This is a forked child: let go of the parent's connections, and be closed."""


_everything: WeakSet[Forgetful] = WeakSet()


def forget_in_children(thing: Forgetful) -> None:
    """Have something forget its connections in each child that is forked from here on."""
    _everything.add(thing)


def _forget() -> None:
    for thing in list(_everything):
        thing.forget()
    _everything.clear()


if hasattr(os, "register_at_fork"):  # Windows cannot fork
    os.register_at_fork(after_in_child=_forget)
