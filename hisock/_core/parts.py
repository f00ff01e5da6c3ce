"""The parts of one reply, on the side that takes them."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from hisock._core import call_frames
from hisock.exceptions import ProtocolError


class Wakeable(Protocol):
    """Something that waits until there is a part to take."""

    def deliver(self, value: None, /) -> bool:
        """There is."""

    def fail(self, exc: BaseException, /) -> None:
        """There will be nothing."""


class Ended:
    """The reply is complete."""


class Parts:
    """What has come of a reply, and the waiter for more. One thread or task takes it.

    :param more: called when so many were taken that more may be sent.
    """

    def __init__(self, more: Callable[[], None]) -> None:
        self._more = more
        self._items: deque[bytes | Ended | BaseException | None] = deque()
        self._waiter: Wakeable | None = None
        self._taken = 0
        self.ended = False

    def take(self, message: bytes | None) -> None:
        """A part has come.

        :raises ProtocolError: so many wait to be taken that it was not asked for.
        """
        if len(self._items) >= call_frames.FIRST_PARTS:
            raise ProtocolError("a part of a reply came that was not asked for")
        self._put(message)

    def deliver(self, value: bytes | None) -> bool:
        """The reply has come to its end; see :class:`hisock._core.calls.CallWaiter`."""
        self._put(Ended())
        return True

    def fail(self, exc: BaseException) -> None:
        """No more will come."""
        self._items.append(exc)
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.fail(exc)

    def _put(self, item: bytes | Ended | None) -> None:
        self._items.append(item)
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.deliver(None)

    def wake(self, waiter: Wakeable) -> bool:
        """Wake ``waiter`` when a part comes; ``False`` if there is one by now."""
        self._waiter = waiter
        if self._items:  # it came meanwhile
            self._waiter = None
            return False
        return True

    def pop(self) -> bytes | Ended | None:
        """The next part, or that there is none; only when there is something.

        :raises Exception: what ended the reply early.
        """
        item = self._items.popleft()
        if isinstance(item, (Ended, BaseException)):
            self.ended = True
            if isinstance(item, BaseException):
                raise item
            return item
        self._taken += 1
        if self._taken % call_frames.PARTS_PER_MORE == 0:
            self._more()
        return item


def is_stream(result: Any) -> bool:
    """Whether a handler returned what yields the parts of its reply."""
    return inspect.isasyncgen(result) or inspect.isgenerator(result)
