"""What went between a server and its clients, frame by frame."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Literal, NamedTuple

from hisock.framing import Decoder

Direction = Literal["to server", "to client"]


class RecordedFrame(NamedTuple):
    """One frame on its way.

    :ivar client: the number of the client, 1 for the first that connected.
    :ivar direction: ``"to server"`` or ``"to client"``.
    :ivar command: the command; ``None`` for frames of the protocol, and raw ones.
    :ivar message: the message in bytes, ``None`` for none; without a command, the whole payload.
    """

    client: int
    direction: Direction
    command: str | None
    message: bytes | None


class Recording:
    """The frames of all connections, in the order in which they were written.

    :param header_len: digits of a frame's length.
    :param active: called with every write.
    """

    def __init__(self, header_len: int, active: Callable[[], None]) -> None:
        self._header_len = header_len
        self._active = active
        self.frames: list[RecordedFrame] = []

    def tap(self, client: int, direction: Direction) -> Callable[[bytes], None]:
        """What is called with the bytes that go one way."""
        # How large a frame may be is decided by the side that it goes to.
        decoder = Decoder(self._header_len, sys.maxsize)

        def written(data: bytes) -> None:
            self._active()
            for command, message in decoder.feed(data):
                self.frames.append(RecordedFrame(client, direction, command, message))

        return written
