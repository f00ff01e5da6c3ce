"""The framing core in Python: what runs where the extension modules are not built.

Same names, results and errors as ``_framing.pyx``; ``tests/framing`` compares the two. Whole
headers and commands are looked up in dictionaries, the rest is slicing, so the cost is per frame
and not per byte. The wire format is described in :mod:`hisock.framing`.
"""

from __future__ import annotations

from itertools import chain, repeat
from operator import index
from struct import iter_unpack
from typing import TYPE_CHECKING

from hisock._building_py import MSG, build_command, build_raw
from hisock._framing_common import (
    DEFAULT_HEADER_LEN,
    DEFAULT_MAX_FRAME_SIZE,
    FIRST_READ,
    LEAST_BLOCK,
    MOST_HEADERS,
    build_header,
    check_command,
    checked_frame_limit,
    checked_header_len,
    cut_short,
    reject_count,
    too_long,
)
from hisock._scratch_py import Frame, Scratch
from hisock.exceptions import FramingError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Decoder",
    "Frame",
    "Scratch",
    "build_command",
    "build_header",
    "build_raw",
    "check_command",
]

_SMALL = 4096  # bytes; payloads up to that are cheaper copied twice than seen through a view
_LONG = (b"", b"", b"")  # stands for a payload that is not cut in three
_MUCH = 4096  # bytes from which on it is worth looking for frames that are alike
_RUN = 8  # so many of which are cut at once
_SHORT = 512  # bytes of a frame up to which copying all of them twice more costs less than a loop


class Decoder:
    """Turns a stream of bytes, however it was split, into frames.

    :param header_len: length of a header in bytes, 1 to 20.
    :param max_frame_size: the longest payload accepted, in bytes.
    :param scratch: shared with other decoders that run in the same thread; own one by default.
    :param max_first_frame: the longest payload accepted of the first frame, if that is less;
        sets ``short_reads``: at most 4 KiB are received at once, until the caller clears it.

    Either :meth:`feed` it, or receive into :meth:`get_buffer` and tell :meth:`buffer_updated`.
    """

    __slots__ = (
        "_block",
        "_direct",
        "_first_limit",
        "_handed",
        "_have",
        "_head",
        "_header_len",
        "_heads",
        "_limit",
        "_need",
        "_scratch",
        "_width",
        "error",
        "frames",
        "position",
        "short_reads",
    )

    def __init__(
        self,
        header_len: int = DEFAULT_HEADER_LEN,
        max_frame_size: int = DEFAULT_MAX_FRAME_SIZE,
        scratch: Scratch | None = None,
        max_first_frame: int | None = None,
    ) -> None:
        self._header_len = checked_header_len(header_len)
        self._limit = checked_frame_limit(max_frame_size)
        self._first_limit = self._limit
        self.short_reads = False
        if max_first_frame is not None:
            self.short_reads = True
            self._first_limit = min(self._limit, checked_frame_limit(max_first_frame))
        if scratch is not None and not isinstance(scratch, Scratch):
            raise TypeError(f"scratch must be a Scratch, not {type(scratch).__name__}")
        self._scratch = scratch
        heads = {} if scratch is None else scratch._heads
        self._heads = heads.setdefault((self._header_len, self._limit), {})
        self._width = 0  # of the last of them
        self._head = b""  # the incomplete header
        self._need = -1  # length of the payload under way; -1: its header is not complete
        self._have = 0  # bytes of it in _block
        self._block: bytearray | None = None
        self._handed = -1  # length of the buffer handed out; -1: none
        self._direct = False  # that buffer is part of _block
        self.error: FramingError | None = None
        self.position = 0
        self.frames = 0  # how many have come, for statistics

    @property
    def pending(self) -> int:
        """Bytes that have come of a frame that is not complete yet."""
        if self._need < 0:
            return len(self._head)
        return self._header_len + self._have

    @property
    def held(self) -> int:
        """Bytes of memory that a frame which is not complete yet occupies."""
        if self._need < 0:
            return len(self._head)
        return self._header_len + (0 if self._block is None else len(self._block))

    def feed(self, data: Buffer, /) -> list[Frame]:
        """Take the next bytes of the stream; return the frames that they complete."""
        self._handed = -1
        if self.error is not None:
            raise self._again(self.error)
        if type(data) is not bytes:
            with memoryview(data) as view:
                if not view.c_contiguous:
                    raise BufferError("the data to feed must be contiguous")
                data = view.tobytes()
        return self._split(data)

    def get_buffer(self, sizehint: int = -1, /) -> memoryview:
        """Return a writable buffer, never empty, to receive the next bytes into."""
        scratch = self._shared()
        need, have = self._need, self._have
        half = (scratch.size + 1) // 2
        self._direct = have >= half and need - have >= half
        if not self._direct:
            view = scratch._writable()
            if self.short_reads:
                view = view[:FIRST_READ]
        else:
            block = self._block or bytearray()
            # As much again as has come, so that memory follows what was received.
            end = max(2 * have, len(block), LEAST_BLOCK)
            spare = scratch._give(end, need)
            if spare is not None:
                spare[:have] = block[:have]
                self._block = spare
                end = len(spare)
            end = min(end, need)
            view = memoryview(self._reserve(end))[have:end]
        self._handed = len(view)
        return view

    def buffer_updated(self, nbytes: int, /) -> list[Frame]:
        """Like :meth:`feed`, for ``nbytes`` received into the buffer handed out last."""
        if self.error is not None:
            raise self._again(self.error)
        nbytes = index(nbytes)
        if not 0 <= nbytes <= self._handed:
            reject_count(nbytes, self._handed)
        self._handed = -1
        if not self._direct:
            return self._split(self._shared()._received(nbytes))
        self._have += nbytes
        return self._split(b"")

    def eof(self) -> None:
        """Raise :class:`FramingError` if the stream, ending here, ends inside a frame."""
        if self.error is not None:
            raise self._again(self.error)
        end = self.position + self.pending
        if self._need >= 0:
            raise cut_short(self._have, self._need, "payload", end)
        if self._head:
            raise cut_short(len(self._head), self._header_len, "header", end)

    def discard(self) -> None:
        """Forget the frame under way and free its memory: nothing more is read from the stream."""
        self.position += self.pending
        self._forget()

    @staticmethod
    def _again(error: FramingError) -> FramingError:
        return FramingError(error.reason, error.position)

    def _shared(self) -> Scratch:
        if self._scratch is None:
            self._scratch = Scratch()
        return self._scratch

    def _reserve(self, size: int) -> bytearray:
        """Make the block at least ``size`` long; a view that is still in use stays valid."""
        block = self._block
        if block is None:
            self._block = block = bytearray(size)
        elif len(block) < size:
            try:
                block += bytes(size - len(block))
            except BufferError:
                block = block[: self._have] + bytes(size - self._have)
            self._block = block
        return block

    def _store(self, data: bytes) -> None:
        """Append to the incomplete payload."""
        if not data:
            return
        have = self._have
        end = have + len(data)
        block = self._block
        room = 0 if block is None else len(block)
        if block is None or end > room:
            block = self._reserve(min(self._need, max(end, 2 * room, LEAST_BLOCK)))
        block[have:end] = data
        self._have = end

    def _complete(self, data: bytes) -> Frame:
        """Return the frame under way, which ends in ``data``, and free its block."""
        start = self.position + self._header_len
        if self._have:
            self._store(data[: self._need - self._have])
        source = data if self._block is None else self._block
        frame = self._shared()._frame(source, 0, self._need, start)
        if self._block is not None:
            self._shared()._keep(self._block)
        self.position = start + self._need
        self._forget()
        return frame

    def _forget(self) -> None:
        self._head, self._need, self._have, self._block = b"", -1, 0, None
        self._handed, self._direct = -1, False

    def _split(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        try:
            self._frames(data, frames)
        except FramingError as error:
            self.error = self._again(error)  # without what it was raised from, which holds frames
            self._forget()
        if self.error is not None and not frames:
            raise self._again(self.error)
        self.frames += len(frames)
        return frames

    def _run(self, data: bytes, at: int, frames: list[Frame]) -> int:
        """Append the frames from ``at`` on that are alike but for their messages; return their end.

        Cutting them all at once, and comparing the beginnings after that, costs a third of reading
        them one by one.
        """
        head = data[at : at + self._width]
        size, command = self._heads.get(head, (len(data), None))
        count = (len(data) - at) // size if size <= _SHORT else 0
        while count >= _RUN and not data.startswith(head, at + (count - 1) * size):
            count //= 2
        count -= count % _RUN
        if not count:
            return at
        stop = at + count * size
        run = data[at:stop]
        cut = iter_unpack(f"{len(head)}x{size - len(head)}s" * _RUN, run)
        messages = list(chain.from_iterable(cut))
        if head + head.join(messages) != run:
            return at
        frames.extend(zip(repeat(command), messages))
        return stop

    # Each way out of the loop would be a call a frame, which costs what the loop saves.
    def _frames(self, data: bytes, frames: list[Frame]) -> None:  # noqa: C901
        """Append the frames that ``data`` completes; keep the rest."""
        at = 0
        if self._need >= 0:
            at = self._need - self._have
            if len(data) < at:
                self._store(data)
                return
            frames.append(self._complete(data))
        elif self._head:
            data = self._head + data
            self._head = b""

        scratch = self._shared()
        lengths, commands, heads = scratch._lengths, scratch._commands, self._heads
        header_len, limit = self._header_len, self._first_limit
        base = self.position - at  # where data begins in the stream
        end = len(data)
        width = self._width
        if end >= _MUCH:
            at = self._run(data, at, frames)
        length = -1
        try:
            while True:
                # The shortest way, for a beginning as long as the last one, and seen before.
                start = at + width
                known = heads.get(data[at:start])
                if known is not None:
                    size, command = known
                    stop = at + size
                    if stop <= end:
                        frames.append((command, data[start:stop]))
                        at = stop
                        continue
                body = at + header_len
                if body > end:
                    break
                try:
                    length = lengths[data[at:body]]
                except KeyError:
                    length = scratch._length(data[at:body], base + at)
                if length > limit:
                    limit = self._limit if base + at else limit
                    if length > limit:
                        raise too_long(data[at:body], base + at, limit)
                stop = body + length
                if stop > end:
                    break
                # The short way, for a command that was seen before: its bytes are all that
                # comes before the first $MSG$, and a wrong guess finds nothing.
                head, mark, message = data[body:stop].partition(MSG) if length <= _SMALL else _LONG
                name = commands.get(head)
                if name is None:
                    frames.append(scratch._frame(data, body, stop, base))
                elif mark:
                    frames.append((name, message))
                    width = stop - at - len(message)
                    if len(heads) >= MOST_HEADERS:
                        heads.clear()
                    heads[data[at : at + width]] = stop - at, name
                else:
                    frames.append((name, None))
                at = stop
        finally:
            self.position = base + at
            self._width = width
        if body <= end:
            self._need = length
            if body < end:
                self._store(data[body:])
        else:
            self._head = data[at:]
