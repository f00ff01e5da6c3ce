"""Entries of batches between servers, in Python: messages for many, each with its target.

Same names, results and errors as ``_entries.pyx``; ``tests/framing/test_entries.py`` compares them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from hisock._building_py import build_command
from hisock._framing_common import ENTRY_DIGITS, MOST_GATHERED, MOST_TOGETHER
from hisock._framing_py import Frame
from hisock._outbox_py import fan_out, fan_out_joined

Boxes = dict[Any, Any]


class EntryQueue:
    """Entries that wait to be sent to other servers, oldest first.

    :ivar entries: not to be changed.
    :ivar size: bytes of all of them.
    """

    __slots__ = ("_volatile", "entries", "size")

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.size = 0
        #: The numbers of those that are dropped first.
        self._volatile: set[int] = set()

    def add(self, entry: bytes, volatile: bool) -> None:
        """Append one; a volatile one is dropped first."""
        if volatile:
            self._volatile.add(len(self.entries))
        self.entries.append(entry)
        self.size += len(entry)

    def drop_volatile(self) -> int:
        """Drop what may be dropped first; return how many entries that were."""
        count = len(self._volatile)
        if count:
            kept = [e for number, e in enumerate(self.entries) if number not in self._volatile]
            self.clear()
            self.entries, self.size = kept, sum(map(len, kept))
        return count

    def clear(self) -> int:
        """Drop everything; return how many entries that were."""
        count = len(self.entries)
        self.entries, self.size = [], 0
        if self._volatile:
            self._volatile = set()
        return count

    def sent(self, count: int) -> None:
        """Remove the first entries, which have been sent."""
        if count == len(self.entries):
            self.clear()  # the caller may still have the list
            return
        self.size -= sum(map(len, self.entries[:count]))
        del self.entries[:count]
        self._volatile = {number - count for number in self._volatile if number >= count}


class Reachable(Protocol):
    """Where a message for many goes."""

    names: tuple[str, ...]
    target: str
    total: int


class EntryGatherer:
    """Gathers the messages for other servers that one thread sends.

    :ivar ident: that of the thread, for the compiled one.
    :ivar is_current: whether the caller runs in that thread, for this one.
    :ivar room: bytes that an entry may have.
    :ivar has_before: whether something has to go before the next message.
    :ivar scheduled: whether what waits is sent soon without more ado.
    :ivar put_apart: takes over the arguments of :meth:`pass_on` where nothing is gathered: in
        another thread, or where the target or the size does not fit an entry.
    """

    put_apart: Callable[[Any, Any, str, bytes], None]
    is_current: Callable[[], bool]

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.ident = 0
        self.room = 0
        self.has_before = False
        self.scheduled = False
        self._gathered: deque[tuple[tuple[str, ...], bytes]] = deque()

    def wake(self) -> None:
        """Something waits."""
        raise NotImplementedError

    def take_gathered(self) -> None:
        """Put what was gathered into the queues."""
        raise NotImplementedError

    def pass_on(self, reached: Reachable, kind: Any, name: str, frame: bytes, /) -> int:
        """Pass a ready frame on to servers; return how many clients of theirs it is for.

        :param reached: the ``names`` of the servers, the ``target``, and the ``total`` of clients.
        """
        entry = None
        if not self.has_before and self.is_current():
            entry = _entry_for(reached.target, frame)
        if entry is None or len(entry) > self.room:
            self.put_apart(reached, kind, name, frame)
            return reached.total
        self._gathered.append((reached.names, entry))
        if not self.scheduled:
            self.wake()
        elif len(self._gathered) >= MOST_GATHERED:
            self.take_gathered()
        return reached.total

    def take_each(self) -> list[tuple[tuple[str, ...], bytes]]:
        """Return what was gathered, each the names and the entry, and start afresh."""
        taken = []
        while self._gathered:  # one after the other, as the thread may gather more meanwhile
            taken.append(self._gathered.popleft())
        return taken

    def spread(self, queues: dict[str, EntryQueue]) -> int:
        """Append what was gathered to the queues of the servers; return the largest size of one."""
        largest = 0
        for names, entry in self.take_each():
            for name in names:
                queue = queues.get(name)
                if queue is not None:
                    queue.entries.append(entry)
                    queue.size += len(entry)
                    largest = max(largest, queue.size)
        return largest

    @property
    def gathered_bytes(self) -> int:
        """Bytes of what is gathered."""
        return sum(len(entry) for _, entry in self._gathered.copy())

    @property
    def has_gathered(self) -> bool:
        """Whether anything is gathered."""
        return bool(self._gathered)


def _entry_for(target: str, frame: bytes) -> bytes | None:
    """Return the entry of a frame for a target; ``None`` if the target cannot be a command."""
    try:
        return build_command(target, frame, ENTRY_DIGITS)
    except ValueError:
        return None


def all_commands(frames: list[Frame]) -> bool:
    """Return whether each of some frames is a command."""
    return None not in dict(frames)


def deliver(
    messages: list[tuple[str, bytes | None]],
    groups: dict[str, Any],
    everyone: Boxes,
    rooms: Callable[[str], Boxes],
    otherwise: Callable[[str, bytes], None],
) -> None:
    """Write ready frames that have come, each with its target, to outboxes.

    Those for the same clients are joined, so that each outbox takes one ``bytes``. Frames for
    several groups may change places, as a client is in one of them only.

    :param groups: the outboxes of each group, as the keys of a dict.
    :param rooms: returns those of a room.
    :param otherwise: called with the target and the frame of any others.
    """
    waiting: dict[str, list[bytes]] = {}
    of_groups = True
    for target, frame in messages:
        if frames := waiting.get(target):
            frames.append(frame or b"")
            continue
        of_group = target[0] == "g"
        if waiting and not (of_group and of_groups):
            _write_all(waiting, groups, everyone, rooms, otherwise)
            waiting.clear()
        waiting[target] = [frame or b""]
        of_groups = of_group
    _write_all(waiting, groups, everyone, rooms, otherwise)


def _write_all(
    waiting: dict[str, list[bytes]],
    groups: dict[str, Any],
    everyone: Boxes,
    rooms: Callable[[str], Boxes],
    otherwise: Callable[[str, bytes], None],
) -> None:
    for target, frames in waiting.items():
        letter = target[0]
        if letter == "g":
            members = groups.get(target[1:])
        elif letter == "*":
            members = everyone
        elif letter == "r":
            members = rooms(target[1:])
        else:
            for frame in frames:
                otherwise(target, frame)
            continue
        if members:
            _write_frames(members, frames)


def _write_frames(members: Boxes, frames: list[bytes]) -> None:
    if len(frames) > 1:
        together = b"".join(frames)
        if len(together) <= MOST_TOGETHER:
            fan_out_joined(members, together, len(frames))
            return
    for frame in frames:
        fan_out(members, frame)
