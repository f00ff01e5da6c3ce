"""The reasons why reading from a connection is paused."""

from __future__ import annotations

from collections.abc import Callable

#: Shared by all: an empty set of its own would be a twentieth of what an idle client takes.
_NONE: frozenset[str] = frozenset()


class Pauses:
    """Pauses reading while any reason applies; reasons are independent of each other.

    :param set_reading: called with ``False`` when the first reason begins to apply, and with
        ``True`` when the last one has ended.
    """

    __slots__ = ("_reasons", "_set_reading")

    def __init__(self, set_reading: Callable[[bool], object]) -> None:
        self._set_reading = set_reading
        self._reasons = _NONE

    def set(self, reason: str, applies: bool) -> None:
        """Note whether a reason applies now."""
        before = bool(self._reasons)
        reasons = self._reasons | {reason} if applies else self._reasons - {reason}
        self._reasons = reasons or _NONE
        if before != bool(self._reasons):
            self._set_reading(before)

    def close(self) -> None:
        """There is nothing to read any more; forget what would be called."""
        self._set_reading = bool  # which does nothing

    def __bool__(self) -> bool:
        return bool(self._reasons)
