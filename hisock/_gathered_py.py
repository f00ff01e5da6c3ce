"""Frames that many outboxes hold ready, in Python; ``_gathered.pxi`` is its compiled twin."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any


class Gathered:
    """Frames for many outboxes, which :meth:`Outbox.hold` keeps ready for each of them.

    :param lock: kept while an outbox queues what it holds, where that is not atomic by itself.
    :ivar frames: the frames, in order.
    :ivar caught_up: outboxes that hold none of it, each with the number of frames it has got.
    :ivar first: the number of the first of the frames; those before it are forgotten.
    """

    __slots__ = ("_joined", "_lock", "caught_up", "first", "frames")

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        self.frames: list[bytes] = []
        self.caught_up: dict[Any, int] = {}
        self.first = 0
        # The frames from one number up to another, and them in one.
        self._joined: tuple[int, int, bytes] = (-1, -1, b"")
        self._lock = lock

    def add(self, frame: bytes, /) -> None:
        """Append a frame: outboxes that are in ``caught_up`` after that have not got it."""
        with self._lock:
            self.frames.append(frame)

    def got(self, outbox: Any, count: int, /) -> None:
        """Note that an outbox holds nothing of it, and has got the frames before a number."""
        self.caught_up[outbox] = count

    def pop_caught_up(self) -> tuple[Any, int] | None:
        """Return an outbox that holds nothing of it, and its number, which are forgotten."""
        return self.caught_up.popitem() if self.caught_up else None

    def join(self, since: int, /) -> None:
        """Join the frames from a number on, so that outboxes which lack just those share them."""
        frames = self.frames[since - self.first :]
        self._joined = (since, self.first + len(self.frames), b"".join(frames))

    def forget(self, count: int, /) -> None:
        """Forget the frames before a number, which all outboxes have got."""
        with self._lock:
            del self.frames[: count - self.first]
            self.first = count
