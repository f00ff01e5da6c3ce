"""The queue of received frames of one connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from hisock._core import protocol
from hisock._core.account import Account, Use, frame_size, frames_size
from hisock._core.pausing import Pauses
from hisock.framing import Frame

#: The reason for a pause in reading while the inbox is full.
INBOX = "inbox"


#: The queue of all inboxes that have held no frame yet: a deque takes 760 bytes. It stays empty.
_EMPTY: deque[Frame] = deque(maxlen=0)


class Inbox:
    """Frames that wait until earlier handlers have ended, or until a client is admitted.

    :param account: counts the frames.
    :param pauses: pauses reading above the high-water mark.
    :param kind: the kind of memory use that the frames are counted as.
    :ivar changes: how many of the frames change the client's name or group.
    """

    __slots__ = ("_account", "_frames", "_kind", "_pauses", "changes")

    def __init__(self, account: Account, pauses: Pauses, kind: Use = Use.DEFERRED) -> None:
        self._account = account
        self._pauses = pauses
        self._kind = kind
        self._frames = _EMPTY
        self.changes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: Frame) -> None:
        """Queue a frame."""
        if self._frames is _EMPTY:
            self._frames = deque()
        self._frames.append(frame)
        self.changes += is_change(*frame)
        if not self._account.take(self._kind, frame_size(*frame)):
            self._pauses.set(INBOX, True)

    def put_all(self, frames: list[Frame]) -> None:
        """Queue several frames, at a fraction of what it costs to queue each."""
        if not frames:
            return
        if self._frames is _EMPTY:
            self._frames = deque()
        self._frames.extend(frames)
        self.changes += sum(is_change(*frame) for frame in frames if frame[0] is None)
        if not self._account.take_many(self._kind, len(frames), frames_size(frames)):
            self._pauses.set(INBOX, True)

    def pop(self) -> Frame | None:
        """Remove and return the oldest frame, or ``None``."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self.changes -= is_change(*frame)
        self._account.free(self._kind, frame_size(*frame))
        self._resume()
        return frame

    def admit(self) -> None:
        """The client is admitted: from now on its frames wait for handlers."""
        self._account.move_all(self._kind, Use.DEFERRED)
        self._kind = Use.DEFERRED

    def drop_calls(self) -> None:
        """Drop calls, which can no longer be answered once their connection has ended."""
        self._replace(frame for frame in self._frames if not _is_call(*frame))

    def take_all(self) -> list[Frame]:
        """Remove and return all frames."""
        frames = list(self._frames)
        self._replace(())
        return frames

    def _replace(self, frames: Iterable[Frame]) -> None:
        kept = list(frames)
        self._frames.clear()
        self.changes = 0
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
