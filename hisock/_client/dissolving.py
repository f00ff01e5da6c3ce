"""A client that has ended and that nobody has any more: so that it is no reference cycle.

Many clients that come and go would wait for the full collections of Python's garbage collector, in
which nothing else runs.
"""

from __future__ import annotations

from typing import Any

from hisock._client.base import ClientBase


class _NoOwner:
    """In place of the driver, for its last connection and for its handlers: takes no notice."""

    def received(self, session: Any, frames: Any) -> None:
        """What comes while a connection ends is not handled."""

    def report(self, exc: Exception, command: str | None, client: Any) -> None:
        """There is nobody to be told."""


_NO_OWNER: Any = _NoOwner()


def dissolve(driver: ClientBase) -> None:
    """Take the parts of a driver apart, once nothing of it is handled any more."""
    if driver.settled:
        driver.session.owner = driver.events.runner = _NO_OWNER
        driver.forget_workers()
