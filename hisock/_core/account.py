"""What connections occupy in memory: one account a connection, and one total of the server.

Counted are bytes of commands and messages, and a fixed cost for what each frame needs beside them.
Nothing is counted on the way of a frame that is handled at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from sys import getsizeof
from typing import Final, NamedTuple


class Use(IntEnum):
    """What memory is occupied by."""

    #: A frame of which not all has come.
    PARTIAL = 0
    #: Frames that wait for async handlers to end.
    DEFERRED = 1
    #: Frames that wait until their client is let in.
    ADMISSION = 2
    #: Threaded work that waits for a thread.
    QUEUED = 3
    #: Threaded work that a thread is at.
    RUNNING = 4
    #: Tasks of ``concurrent`` handlers.
    CONCURRENT = 5
    #: A WebSocket message that has come in part.
    WEBSOCKET = 6


class Bound(NamedTuple):
    """How much of one kind a connection may have before no more is taken from it.

    :ivar items: frames, or pieces of work.
    :ivar size: bytes.
    """

    items: int
    size: int


_MIB: Final = 1024 * 1024

#: Bytes that a frame which is kept costs beside its command and its message.
FRAME_COST: Final = 128
#: Bytes that a piece of threaded work costs beside that.
WORK_COST: Final = 512
#: Bytes that a task costs beside that.
TASK_COST: Final = 3072

#: Frames of one client kept while its handlers run, or while it is not let in.
DEFERRED: Final = Bound(1024, 4 * _MIB)
#: By kind. A partial frame is bounded by ``max_message_size``.
BOUNDS: Final[dict[Use, Bound]] = {
    Use.DEFERRED: DEFERRED,
    Use.ADMISSION: DEFERRED,
    Use.QUEUED: Bound(4096, 4 * _MIB),
    Use.RUNNING: Bound(4096, 4 * _MIB),
    Use.CONCURRENT: Bound(8192, 32 * _MIB),
}


def frame_size(command: str | None, message: bytes | None) -> int:
    """Return what a frame that is kept occupies, in bytes.

    A command counts as what its text occupies: one character outside of Latin-1 makes each of the
    others two or four bytes long, so that may be four times what has come.
    """
    size = FRAME_COST
    if command is not None:
        size += getsizeof(command)
    if message is not None:
        size += len(message)
    return size


def arguments_size(args: Iterable[object]) -> int:
    """Return what the arguments of an event that waits occupy, in bytes."""
    return FRAME_COST + sum(getsizeof(arg) for arg in args if isinstance(arg, (str, bytes)))


class Total:
    """What all connections of a server occupy together.

    :param limit: bytes that they may.
    """

    __slots__ = ("_sizes", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sizes = [0] * len(Use)

    @property
    def size(self) -> int:
        """Bytes of all kinds."""
        return sum(self._sizes)

    @property
    def over(self) -> bool:
        """Whether that is more than may be."""
        return sum(self._sizes) > self.limit

    def by_kind(self) -> dict[str, int]:
        """Bytes of each kind, by its name in small letters."""
        return {kind.name.lower(): self._sizes[kind] for kind in Use}

    def _add(self, kind: Use, size: int) -> None:
        self._sizes[kind] += size


class Account:
    """What one connection occupies, or what clients that have gone from one address still do.

    Each kind may be changed by one thread at a time; different kinds do not disturb each other.

    :param total: what it is counted in as well.
    """

    __slots__ = ("_counts", "_sizes", "_total")

    def __init__(self, total: Total) -> None:
        self._total = total
        self._counts = [0] * len(Use)
        self._sizes = [0] * len(Use)

    def take(self, kind: Use, size: int) -> bool:
        """Count something that is kept from now on.

        :returns: whether more of the kind may be taken.
        """
        self._counts[kind] += 1
        self._sizes[kind] += size
        self._total._add(kind, size)
        return not self.full(kind)

    def free(self, kind: Use, size: int) -> None:
        """Count something as no longer kept."""
        self._counts[kind] -= 1
        self._sizes[kind] -= size
        self._total._add(kind, -size)

    def set(self, kind: Use, size: int) -> None:
        """Say how much there is of a kind of which there is one at most."""
        self._total._add(kind, size - self._sizes[kind])
        self._sizes[kind] = size
        self._counts[kind] = 1 if size else 0

    def move(self, size: int, kind: Use, to: Use) -> None:
        """Count something as of another kind."""
        self.free(kind, size)
        self.take(to, size)

    def hand_over(self, kinds: Sequence[Use], heir: Account) -> None:
        """Have another account, of the same total, answer for what this one has of some kinds."""
        for kind in kinds:
            heir._counts[kind] += self._counts[kind]
            heir._sizes[kind] += self._sizes[kind]
            self._counts[kind] = self._sizes[kind] = 0

    def clear(self, kinds: Sequence[Use]) -> None:
        """Count all of some kinds as no longer kept."""
        for kind in kinds:
            self._total._add(kind, -self._sizes[kind])
            self._counts[kind] = self._sizes[kind] = 0

    def full(self, kind: Use) -> bool:
        """Whether there is more of a kind than one connection may have."""
        bound = BOUNDS.get(kind)
        return bound is not None and (
            self._counts[kind] > bound.items or self._sizes[kind] > bound.size
        )

    def roomy(self, kind: Use) -> bool:
        """Whether there is at most half of that, so that more may be taken again."""
        bound = BOUNDS.get(kind)
        return bound is None or (
            self._counts[kind] <= bound.items // 2 and self._sizes[kind] <= bound.size // 2
        )

    def size(self, *kinds: Use) -> int:
        """Bytes of some kinds, or of all."""
        return sum(self._sizes[kind] for kind in kinds or Use)

    def count(self, kind: Use) -> int:
        """How many there are of a kind."""
        return self._counts[kind]
