"""The writing side of the framing core in Python: an outbox, and one frame to many of them.

Same names, results and errors as ``_outbox.pyx``; ``tests/framing`` compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hisock._framing_common import (
    BY_REFERENCE,
    DEFAULT_HEADER_LEN,
    checked_header_len,
    reject_frame,
    reject_message,
)
from hisock._framing_py import MSG, cached_header, command_prefix


class Outbox:
    """The frames that wait to be written to one peer, in order.

    :param queue: list that ``owner`` is appended to when the first frame comes after a take.
    :param owner: whatever finds this outbox again; it is only passed on.
    :param schedule: called when ``owner`` became the first in ``queue``.
    :param header_len: length of a header in bytes, 1 to 20.

    Any thread may :meth:`send`, :meth:`write` and :meth:`close`; one thread takes.
    """

    __slots__ = (
        "_dirty",
        "_header_len",
        "_owner",
        "_pieces",
        "_queue",
        "_schedule",
        "closed",
        "size",
    )

    def __init__(
        self,
        queue: list[Any],
        owner: object,
        schedule: Callable[[], object],
        header_len: int = DEFAULT_HEADER_LEN,
    ) -> None:
        if not isinstance(queue, list):
            raise TypeError(f"queue must be a list, not {type(queue).__name__}")
        self._header_len = checked_header_len(header_len)
        self._queue = queue
        self._owner = owner
        self._schedule = schedule
        # A piece is bytes to be joined, or a tuple of those and what is not to be copied.
        self._pieces: list[Any] = []
        self._dirty = False
        self.closed = False
        self.size = 0

    def send(self, command: str, message: bytes | None = None) -> bool:
        """Queue the frame of a command; ``False`` if the outbox is closed."""
        prefix = command_prefix(command)
        if message is None:
            frame = cached_header(len(prefix), self._header_len) + prefix
            return self._put(frame, len(frame))
        if not isinstance(message, bytes):
            reject_message(message)
        length = len(prefix) + len(MSG) + len(message)
        header = cached_header(length, self._header_len)
        if len(message) >= BY_REFERENCE and type(message) is bytes:
            return self._put((header + prefix + MSG, message), len(header) + length)
        return self._put(b"".join((header, prefix, MSG, message)), len(header) + length)

    def write(self, frame: bytes, /) -> bool:
        """Queue a frame built before; ``False`` if the outbox is closed."""
        if not isinstance(frame, bytes):
            reject_frame(frame)
        if len(frame) >= BY_REFERENCE and type(frame) is bytes:
            return self._put((b"", frame), len(frame))
        return self._put(frame, len(frame))

    def take(self) -> list[bytes]:
        """Return all that waits, mostly as one ``bytes``, and start afresh.

        Large messages are elements of their own, and how the rest is cut is left open.
        """
        # The flag first: what another thread appends from here on is announced again.
        self._dirty = False
        pieces = self._pieces[:]
        del self._pieces[: len(pieces)]
        self.size = 0
        if not pieces:
            return pieces
        try:
            return [b"".join(pieces)]
        except TypeError:
            return _joined(pieces)

    def close(self) -> None:
        """Drop what waits and accept nothing more."""
        self.closed = True
        self._pieces.clear()
        self.size = 0

    def _put(self, piece: bytes | tuple[bytes, bytes], size: int) -> bool:
        if self.closed:
            return False
        # Appended before the flag is looked at, so that no frame falls between two takes.
        self._pieces.append(piece)
        self.size += size
        if self.closed:
            self.close()  # by another thread, meanwhile
        if not self._dirty:
            self._dirty = True
            queue = self._queue
            queue.append(self._owner)
            # Not "the length is 1": another thread may append between the two steps.
            first = queue[:1]
            if first and first[0] is self._owner:
                self._schedule()
        return True


def _joined(pieces: list[Any]) -> list[bytes]:
    """Join the pieces but for those kept by reference."""
    chunks: list[bytes] = []
    run: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            run.append(piece)
            continue
        before, kept = piece
        if before:
            run.append(before)
        if run:
            chunks.append(b"".join(run))
            run = []
        chunks.append(kept)
    if run:
        chunks.append(b"".join(run))
    return chunks


def fan_out(outboxes: Iterable[Outbox], frame: bytes) -> int:
    """Write one frame to every outbox (of a dict: its keys); return how many accepted it."""
    if not isinstance(frame, bytes):
        reject_frame(frame)
    accepted = 0
    for outbox in list(outboxes):
        if not isinstance(outbox, Outbox):
            raise TypeError(f"fan_out() writes to outboxes, not to {type(outbox).__name__}")
        accepted += outbox.write(frame)
    return accepted
