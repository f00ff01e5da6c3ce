"""The frames of one connection that wait for their turn, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from hisock._core import protocol
from hisock._core.account import Account, Use, frame_size
from hisock._core.jobs import RawFrame
from hisock._core.pausing import Pauses

#: Why reading pauses while many frames wait.
INBOX = "inbox"


class Inbox:
    """Frames that wait until the handlers before them have ended, or until a client is let in.

    :param account: where they are counted.
    :param pauses: told when much waits, and when little does again.
    :param kind: what they are counted as.
    :ivar changes: how many of them change the client's name or group.
    """

    __slots__ = ("_account", "_frames", "_kind", "_pauses", "changes")

    def __init__(self, account: Account, pauses: Pauses, kind: Use = Use.DEFERRED) -> None:
        self._account = account
        self._pauses = pauses
        self._kind = kind
        self._frames: deque[RawFrame] = deque()
        self.changes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: RawFrame) -> None:
        """Keep a frame."""
        self._frames.append(frame)
        self.changes += is_change(*frame)
        if not self._account.take(self._kind, frame_size(*frame)):
            self._pauses.set(INBOX, True)

    def pop(self) -> RawFrame | None:
        """The oldest frame; it is not kept any longer."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self.changes -= is_change(*frame)
        self._account.free(self._kind, frame_size(*frame))
        self._resume()
        return frame

    def admit(self) -> None:
        """The client is let in: from now on its frames wait for handlers."""
        frames = self.take_all()
        self._kind = Use.DEFERRED
        for frame in frames:
            self.put(frame)

    def drop_calls(self) -> None:
        """Forget the frames that can no longer be answered, as their connection has ended."""
        self._replace(frame for frame in self._frames if not _is_call(*frame))

    def take_all(self) -> list[RawFrame]:
        """All of them; none is kept any longer."""
        frames = list(self._frames)
        self._replace(())
        return frames

    def _replace(self, frames: Iterable[RawFrame]) -> None:
        kept = list(frames)
        self._frames.clear()
        self.changes = 0
        self._account.clear((self._kind,))
        for frame in kept:
            self.put(frame)
        self._resume()

    def _resume(self) -> None:
        if self._account.roomy(self._kind):
            self._pauses.set(INBOX, False)


def is_change(command: str | None, message: bytes | None) -> bool:
    """Whether a frame changes its client's name or group."""
    return command is None and message is not None and message.startswith(protocol.CHANGES)


def _is_call(command: str | None, message: bytes | None) -> bool:
    return command is None and message is not None and message.startswith(protocol.CALL)
