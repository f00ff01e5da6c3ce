"""The frames that ``async for`` has not come to yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from hisock._core.account import frame_size
from hisock._core.waiting import ReceivedFrame

#: Frames, and bytes of messages, that may wait for ``async for`` before reading pauses.
MOST_FRAMES = 1024
MOST_BYTES = 4 * 1024 * 1024


class Unread:
    """A queue that any number of readers take from; each frame goes to one of them.

    :param pause: called with ``True`` when much waits, and with ``False`` when little does again.
    :param frames: what has come before.
    :ivar full: what ``pause`` was called with last.
    """

    def __init__(self, pause: Callable[[bool], None], frames: Iterable[ReceivedFrame]) -> None:
        self._pause = pause
        self.full = False
        self._frames: deque[ReceivedFrame] = deque()
        self._bytes = 0
        self._ended = False
        self._readers: set[asyncio.Future[None]] = set()
        for frame in frames:
            self.put(frame)

    def put(self, frame: ReceivedFrame) -> None:
        """Queue a frame, and wake the readers."""
        self._frames.append(frame)
        self._bytes += frame_size(frame.command, frame.message)
        if len(self._frames) >= MOST_FRAMES or self._bytes >= MOST_BYTES:
            self._set_full(True)
        self._wake()

    def put_first(self, frame: ReceivedFrame) -> None:
        """Queue a frame that was taken before those that wait, and is not wanted after all."""
        self._frames.appendleft(frame)
        self._bytes += frame_size(frame.command, frame.message)
        self._wake()

    def end(self) -> None:
        """Nothing follows."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        for reader in self._readers:
            if not reader.done():
                reader.set_result(None)

    def take(self, command: str | None = None) -> ReceivedFrame | None:
        """The oldest frame, or the oldest of a command; ``None`` if there is none."""
        for frame in self._frames:
            if command is None or frame.command == command:
                self._frames.remove(frame)
                self._bytes -= frame_size(frame.command, frame.message)
                self._resume()
                return frame
        return None

    def take_all(self) -> list[ReceivedFrame]:
        """All that are left."""
        frames = list(self._frames)
        self._frames.clear()
        self._bytes = 0
        self._resume()
        return frames

    def _resume(self) -> None:
        if len(self._frames) <= MOST_FRAMES // 2 and self._bytes <= MOST_BYTES // 2:
            self._set_full(False)

    def _set_full(self, full: bool) -> None:
        if full is not self.full:
            self.full = full
            self._pause(full)

    async def next(self) -> ReceivedFrame | None:
        """The oldest frame, once there is one; ``None`` after the end."""
        while (frame := self.take()) is None:
            if self._ended:
                return None
            reader = asyncio.get_running_loop().create_future()
            self._readers.add(reader)
            try:
                await reader
            finally:
                self._readers.discard(reader)
        return frame
