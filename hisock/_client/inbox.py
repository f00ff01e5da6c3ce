"""The frames of one connection that wait for a handler, and why its reading pauses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from hisock._core import protocol
from hisock._core.jobs import RawFrame

#: Frames kept while async handlers run, before reading pauses; and bytes of their messages.
MOST_FRAMES = 1024
MOST_BYTES = 4 * 1024 * 1024


class Pauses:
    """Pauses reading while there is any reason for it, each of which ends by itself.

    :param set_reading: called with ``False`` when the first reason comes, and with ``True`` when
        the last one has gone.
    """

    def __init__(self, set_reading: Callable[[bool], None]) -> None:
        self._set_reading = set_reading
        self._reasons: set[str] = set()

    def set(self, reason: str, applies: bool) -> None:
        """Note whether a reason applies now."""
        before = bool(self._reasons)
        if applies:
            self._reasons.add(reason)
        else:
            self._reasons.discard(reason)
        if before != bool(self._reasons):
            self._set_reading(before)

    def __bool__(self) -> bool:
        return bool(self._reasons)


class Inbox:
    """Frames that wait until the handlers before them have ended, in order.

    :param pauses: told when much waits, and when little does again.
    """

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses
        self._frames: deque[RawFrame] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: RawFrame) -> None:
        """Keep a frame."""
        self._frames.append(frame)
        self._bytes += _size(frame)
        if len(self._frames) > MOST_FRAMES or self._bytes > MOST_BYTES:
            self._pauses.set("inbox", True)

    def pop(self) -> RawFrame | None:
        """The oldest frame; it is not kept any longer."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._bytes -= _size(frame)
        if len(self._frames) <= MOST_FRAMES // 2 and self._bytes <= MOST_BYTES // 2:
            self._pauses.set("inbox", False)
        return frame

    def drop_calls(self) -> None:
        """Forget the frames that can no longer be answered, as their connection has ended."""
        self._keep(
            frame
            for frame in self._frames
            if frame[0] is not None or not (frame[1] or b"").startswith(protocol.CALL)
        )

    def take_all(self) -> list[RawFrame]:
        """All of them; none is kept any longer."""
        frames = list(self._frames)
        self._keep(())
        self._pauses.set("inbox", False)
        return frames

    def _keep(self, frames: Iterable[RawFrame]) -> None:
        self._frames = deque(frames)
        self._bytes = sum(map(_size, self._frames))


def _size(frame: RawFrame) -> int:
    return len(frame[1] or b"")
