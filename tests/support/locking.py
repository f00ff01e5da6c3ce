"""What several processes that test side by side need, made by one of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """The first process makes or installs something, and the others wait for it."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
