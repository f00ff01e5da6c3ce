"""Memory accounting: one account for each connection, and one total for the server.

An account counts the bytes of commands and messages, and a fixed overhead for each frame. Frames
that are handled at once are not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import IntEnum
from operator import itemgetter
from sys import getsizeof
from typing import Final, NamedTuple


class Use(IntEnum):
    """The kinds of memory use."""

    #: An incomplete frame.
    PARTIAL = 0
    #: Frames that wait for async handlers to end.
    DEFERRED = 1
    #: Frames that wait until their client is admitted.
    ADMISSION = 2
    #: Threaded work that waits for a thread.
    QUEUED = 3
    #: Threaded work that is running.
    RUNNING = 4
    #: Tasks of ``concurrent`` handlers.
    CONCURRENT = 5
    #: An incomplete WebSocket message.
    WEBSOCKET = 6
    #: Tasks of ``concurrent`` handlers that are not started yet, because too much is running.
    PENDING = 7
    #: Rooms that a client is in, and the names of those that exist because of it, over 2 KiB.
    ROOMS = 8


class Bound(NamedTuple):
    """The high-water mark of one kind: above it, reading from the connection pauses.

    :ivar items: frames, or pieces of work.
    :ivar size: bytes.
    """

    items: int
    size: int


#: The sizes of what is free at once when a connection ends, of the sizes of all kinds.
_droppable: Final = itemgetter(
    *(Use.PARTIAL, Use.WEBSOCKET, Use.DEFERRED, Use.ADMISSION, Use.QUEUED, Use.PENDING),
    Use.ROOMS,
)
_MIB: Final = 1024 * 1024

#: Overhead in bytes of a kept frame, besides its command and its message.
FRAME_COST: Final = 128
#: Overhead in bytes of a piece of threaded work, besides that of its frame.
WORK_COST: Final = 512
#: Overhead in bytes of a task, besides that of its frame.
TASK_COST: Final = 3072

#: The bound on frames of one client that wait for its handlers.
DEFERRED: Final = Bound(1024, 4 * _MIB)
#: The same of a client that is not admitted yet: it may be one of thousands of strangers, and what
#: it sends behind its hello is better left in the kernel's buffer, where it costs nothing: neither
#: memory nor the many short reads that bring it, of several strangers in each iteration.
ADMISSION: Final = Bound(64, 16 * 1024)
#: Bytes that the rooms of one client take at most; it enters no more then.
MOST_OF_ROOMS: Final = 4 * _MIB
#: The same if all others left them, and it alone were charged for rooms that they have made.
MOST_LEFT_BY_OTHERS: Final = 16 * _MIB
#: The bounds by kind. A partial frame is bounded by ``max_message_size`` instead.
BOUNDS: Final[dict[Use, Bound]] = {
    Use.DEFERRED: DEFERRED,
    Use.ADMISSION: ADMISSION,
    Use.QUEUED: Bound(4096, 4 * _MIB),
    Use.RUNNING: Bound(4096, 4 * _MIB),
    Use.CONCURRENT: Bound(4096, 32 * _MIB),
}


def frame_size(command: str | None, message: bytes | None) -> int:
    """Return the bytes that a kept frame occupies.

    A command is counted as Python's ``str`` object: one character outside Latin-1 makes all of them
    two or four bytes wide, so that it may be four times as large as on the wire.
    """
    size = FRAME_COST
    if command is not None:
        size += getsizeof(command)
    if message is not None:
        size += len(message)
    return size


def frames_size(frames: Sequence[tuple[str | None, bytes | None]]) -> int:
    """Return the bytes that several kept frames occupy together."""
    # Few commands differ, and asking for the size of an object is slow.
    commands = Counter([command for command, _ in frames])
    del commands[None]
    size = sum(count * getsizeof(command) for command, count in commands.items())
    messages = [message for _, message in frames if message is not None]
    return size + len(frames) * FRAME_COST + sum(map(len, messages))


def arguments_size(args: Iterable[object]) -> int:
    """Return the bytes that the arguments of a deferred event occupy."""
    return FRAME_COST + sum(getsizeof(arg) for arg in args if isinstance(arg, (str, bytes)))


class Total:
    """The memory that all connections of a server occupy together.

    :param limit: the most bytes that they may occupy.
    """

    __slots__ = ("_running_limit", "_sizes", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # Threads and tasks each: what runs cannot be dropped, and everything else needs room too.
        self._running_limit = limit * 3 // 8
        self._sizes = [0] * len(Use)

    @property
    def size(self) -> int:
        """Bytes of all kinds."""
        return sum(self._sizes)

    @property
    def over(self) -> bool:
        """Whether the limit is exceeded."""
        return sum(self._sizes) > self.limit

    def permits(self, kind: Use, size: int) -> bool:
        """Whether work of a kind that cannot be dropped may begin: threads, or tasks.

        One piece may always run, whatever its size, so that work goes on.
        """
        running = self._sizes[kind]
        return not running or running + size <= self._running_limit

    def by_kind(self) -> dict[str, int]:
        """Bytes of each kind, by its name in lower case."""
        return {kind.name.lower(): self._sizes[kind] for kind in Use}

    def _add(self, kind: Use, size: int) -> None:
        self._sizes[kind] += size


class Account:
    """The memory of one connection, or what disconnected clients of one address still occupy.

    Each kind may be changed by one thread at a time; different kinds are independent.

    :param total: the total that the account is part of.
    """

    __slots__ = ("_counts", "_sizes", "_total")

    def __init__(self, total: Total) -> None:
        self._total = total
        self._counts = [0] * len(Use)
        self._sizes = [0] * len(Use)

    def take(self, kind: Use, size: int) -> bool:
        """Count an item that is kept from now on.

        :returns: whether more of the kind may be kept.
        """
        self._counts[kind] += 1
        self._sizes[kind] += size
        self._total._add(kind, size)
        return not self.full(kind)

    def take_many(self, kind: Use, items: int, size: int) -> bool:
        """Count several items that are kept from now on; see :meth:`take`."""
        self._counts[kind] += items - 1
        return self.take(kind, size)

    def free(self, kind: Use, size: int) -> None:
        """Count an item as no longer kept."""
        self._counts[kind] -= 1
        self._sizes[kind] -= size
        self._total._add(kind, -size)

    def set(self, kind: Use, size: int) -> bool:
        """Set the size of a kind that has at most one item.

        :returns: whether the total is over its limit, as :attr:`Total.over` says.
        """
        # Without calls: it runs twice for each large message, in the middle of receiving it.
        total = self._total
        sizes = total._sizes
        sizes[kind] += size - self._sizes[kind]
        self._sizes[kind] = size
        self._counts[kind] = 1 if size else 0
        return sum(sizes) > total.limit

    def move(self, size: int, kind: Use, to: Use) -> None:
        """Count an item as another kind."""
        self.free(kind, size)
        self.take(to, size)

    def move_all(self, kind: Use, to: Use) -> None:
        """Count all items of a kind as another kind."""
        items, size = self._counts[kind], self._sizes[kind]
        self.clear((kind,))
        self._counts[to] += items
        self._sizes[to] += size
        self._total._add(to, size)

    def hand_over(self, kinds: Sequence[Use], heir: Account) -> None:
        """Transfer some kinds to another account of the same total."""
        for kind in kinds:
            heir._counts[kind] += self._counts[kind]
            heir._sizes[kind] += self._sizes[kind]
            self._counts[kind] = self._sizes[kind] = 0

    def clear(self, kinds: Sequence[Use]) -> None:
        """Count all items of some kinds as no longer kept."""
        for kind in kinds:
            self._total._add(kind, -self._sizes[kind])
            self._counts[kind] = self._sizes[kind] = 0

    def full(self, kind: Use) -> bool:
        """Whether a kind is over its high-water mark."""
        bound = BOUNDS.get(kind)
        return bound is not None and (
            self._counts[kind] > bound.items or self._sizes[kind] > bound.size
        )

    def roomy(self, kind: Use) -> bool:
        """Whether a kind is below its low-water mark, half of its bound."""
        bound = BOUNDS.get(kind)
        return bound is None or (
            self._counts[kind] <= bound.items // 2 and self._sizes[kind] <= bound.size // 2
        )

    def size(self, *kinds: Use) -> int:
        """Bytes of some kinds, or of all."""
        return sum(self._sizes[kind] for kind in kinds or Use)

    @property
    def droppable(self) -> int:
        """Bytes that would be free at once if the connection ended."""
        return sum(_droppable(self._sizes))

    def count(self, kind: Use) -> int:
        """How many items there are of a kind."""
        return self._counts[kind]
