"""The queue of received frames of one connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from hisock._core import protocol
from hisock._core.account import Account, Use, frame_size, frames_size
from hisock._core.pausing import Pauses
from hisock.framing import Frame

#: The reason for a pause in reading while the inbox is full.
INBOX = "inbox"


#: Frames that are packed into one tuple.
_PACK: Final = 64
#: The queues of all inboxes that hold no frame: a deque takes 760 bytes. They stay empty.
_NO_PACKS: Final[deque[tuple[Frame, ...]]] = deque(maxlen=0)
_NONE: Final[list[Frame]] = []
#: What a client sends last.
_GOODBYE: Final = (None, protocol.LEAVE)


class Inbox:
    """Frames that wait until earlier handlers have ended, or until a client is admitted.

    There may be hundreds of thousands. Python's full garbage collections look at each element of
    a list or deque, but not into tuples of nothing but texts and bytes; so they are kept in those.

    :param account: counts the frames.
    :param pauses: pauses reading above the high-water mark.
    :param kind: the kind of memory use that the frames are counted as.
    :ivar changes: how many of the frames change the client's name or group.
    """

    __slots__ = (
        "_account",
        "_count",
        "_kind",
        "_newest",
        "_oldest",
        "_packs",
        "_pauses",
        "changes",
    )

    def __init__(self, account: Account, pauses: Pauses, kind: Use = Use.DEFERRED) -> None:
        self._account = account
        self._pauses = pauses
        self._kind = kind
        self._count = 0
        #: The first frames, in reverse, so that each can be freed when it is removed.
        self._oldest = _NONE
        self._packs = _NO_PACKS
        self._newest = _NONE
        self.changes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """Bytes of the frames."""
        return self._account.size(self._kind)

    def only_goodbyes(self) -> bool:
        """Whether no frame waits but such that say goodbye."""
        return all(frame == _GOODBYE for frame in self._frames())

    def put(self, frame: Frame) -> None:
        """Queue a frame."""
        self._append((frame,))
        self.changes += is_change(*frame)
        if not self._account.take(self._kind, frame_size(*frame)):
            self._pauses.set(INBOX, True)

    def put_all(self, frames: list[Frame]) -> None:
        """Queue several frames, at a fraction of what it costs to queue each."""
        if not frames:
            return
        self._append(frames)
        self.changes += sum(is_change(*frame) for frame in frames if frame[0] is None)
        if not self._account.take_many(self._kind, len(frames), frames_size(frames)):
            self._pauses.set(INBOX, True)

    def _append(self, frames: Sequence[Frame]) -> None:
        self._count += len(frames)
        newest = self._newest
        if newest is _NONE:
            newest = self._newest = []
        newest.extend(frames)
        whole = len(newest) - len(newest) % _PACK
        if whole:
            if self._packs is _NO_PACKS:
                self._packs = deque()
            self._packs.extend(tuple(newest[at : at + _PACK]) for at in range(0, whole, _PACK))
            del newest[:whole]

    def pop(self) -> Frame | None:
        """Remove and return the oldest frame, or ``None``."""
        if not self._count:
            return None
        if not self._oldest:
            self._unpack()
        frame = self._oldest.pop()
        self._count -= 1
        self.changes -= is_change(*frame)
        self._account.free(self._kind, frame_size(*frame))
        self._resume()
        return frame

    def _unpack(self) -> None:
        if self._packs:
            self._oldest = list(reversed(self._packs.popleft()))
        else:
            self._oldest, self._newest = self._newest, _NONE
            self._oldest.reverse()

    def admit(self) -> None:
        """The client is admitted: from now on its frames wait for handlers."""
        self._account.move_all(self._kind, Use.DEFERRED)
        self._kind = Use.DEFERRED

    def drop_calls(self) -> None:
        """Drop calls, which can no longer be answered once their connection has ended."""
        self._replace(frame for frame in self._frames() if not _is_call(*frame))

    def take_all(self) -> list[Frame]:
        """Remove and return all frames."""
        frames = list(self._frames())
        self._replace(())
        return frames

    def _frames(self) -> Iterator[Frame]:
        return chain(reversed(self._oldest), chain.from_iterable(self._packs), self._newest)

    def _replace(self, frames: Iterable[Frame]) -> None:
        kept = list(frames)
        self._count = self.changes = 0
        self._oldest = self._newest = _NONE
        self._packs = _NO_PACKS
        self._account.clear((self._kind,))
        self.put_all(kept)
        self._resume()

    def _resume(self) -> None:
        if self._account.roomy(self._kind):
            self._pauses.set(INBOX, False)


def is_change(command: str | None, message: bytes | None) -> bool:
    """Whether a frame changes its client's name or group."""
    return command is None and message is not None and message.startswith(protocol.CHANGES)


def _is_call(command: str | None, message: bytes | None) -> bool:
    return command is None and message is not None and message.startswith(protocol.CALL)
