"""The framing core in Python: what runs where the extension modules are not built.

Same names, results and errors as ``_framing.pyx``; ``tests/framing`` compares the two. Whole
headers and commands are looked up in dictionaries, the rest is slicing, so the cost is per frame
and not per byte. The wire format is described in :mod:`hisock.framing`.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING

from hisock._framing_common import (
    CACHED_COMMAND,
    DEFAULT_HEADER_LEN,
    DEFAULT_MAX_FRAME_SIZE,
    DEFAULT_SCRATCH_SIZE,
    LEAST_BLOCK,
    MOST_SPARE,
    bad_command,
    bad_header,
    build_header,
    check_command,
    checked_frame_limit,
    checked_header_len,
    checked_scratch_size,
    cut_short,
    reject_count,
    reject_frame,
    reject_message,
    too_long,
)
from hisock.exceptions import FramingError

if TYPE_CHECKING:
    from typing_extensions import Buffer

Frame = tuple[str | None, bytes | None]

CMD = b"$CMD$"
MSG = b"$MSG$"
_MOST_COMMANDS = 256  # remembered, for each direction
_MOST_HEADERS = 4096
_SMALL = 4096  # bytes; payloads up to that are cheaper copied twice than seen through a view
_LONG = (b"", b"", b"")  # stands for a payload that is not cut in three

#: Commands that were sent before, with the bytes of a frame from $CMD$ to $MSG$.
PREFIXES: dict[str, bytes] = {}
_HEADERS: dict[int, dict[int, bytes]] = {}


def command_prefix(command: str) -> bytes:
    """Return a command as bytes, from $CMD$ to $MSG$; raises if the command is not allowed."""
    known = PREFIXES.get(command) if type(command) is str else None
    if known is not None:
        return known
    check_command(command)
    prefix = CMD + command.encode() + MSG
    if type(command) is str and len(prefix) <= len(CMD) + CACHED_COMMAND + len(MSG):
        if len(PREFIXES) >= _MOST_COMMANDS:
            PREFIXES.clear()
        PREFIXES[command] = prefix
    return prefix


def headers_of(header_len: int) -> dict[int, bytes]:
    """Return the headers of that length that were built before, by the length they claim."""
    return _HEADERS.setdefault(header_len, {})


def remember_header(headers: dict[int, bytes], length: int, header_len: int) -> bytes:
    """Build a header that is not among those built before."""
    header = build_header(length, header_len)
    if len(headers) >= _MOST_HEADERS:
        headers.clear()
    headers[length] = header
    return header


def _header(length: int, header_len: int) -> bytes:
    header_len = checked_header_len(header_len)
    headers = headers_of(header_len)
    return headers.get(length) or remember_header(headers, length, header_len)


def build_command(
    command: str, message: bytes | None = None, header_len: int = DEFAULT_HEADER_LEN
) -> bytes:
    """Build the whole frame of a command, header included."""
    prefix = command_prefix(command)
    if message is None:
        prefix = prefix[: -len(MSG)]
        message = b""
    elif not isinstance(message, bytes):
        reject_message(message)
    return b"".join((_header(len(prefix) + len(message), header_len), prefix, message))


def build_raw(payload: bytes, header_len: int = DEFAULT_HEADER_LEN) -> bytes:
    """Build the whole frame of a payload that is sent as it is, header included."""
    if not isinstance(payload, bytes):
        reject_frame(payload, "payload")
    return _header(len(payload), header_len) + payload


class Scratch:
    """What decoders that never run at the same time share: a receive buffer and command names.

    Also the block of the last large message, up to 4 MiB, where the next one goes: fresh memory
    would cost more than receiving into it. Never use a scratch from two threads at once.

    :param size: size of the receive buffer in bytes; it is made when first asked for.
    """

    __slots__ = ("_buffer", "_commands", "_heads", "_lengths", "_spare", "_view", "size")

    def __init__(self, size: int = DEFAULT_SCRATCH_SIZE) -> None:
        self.size = checked_scratch_size(size)
        self._buffer: bytearray | None = None
        self._view: memoryview | None = None
        self._spare: bytearray | None = None
        # By the bytes of a payload up to $MSG$, and by those of a header.
        self._commands: dict[bytes, str] = {}
        self._lengths: dict[bytes, int] = {}
        # What frames begin with, up to their messages, with the length of the frame and the
        # command; for decoders with the same length of headers and the same limit.
        self._heads: dict[tuple[int, int], dict[bytes, tuple[int, str]]] = {}

    def _writable(self) -> memoryview:
        view = self._view
        if view is not None:
            try:
                len(view)
            except ValueError:  # somebody released it
                view = None
        if view is None:
            if self._buffer is None or len(self._buffer) != self.size:
                self._buffer = bytearray(self.size)
            self._view = view = memoryview(self._buffer)
        return view

    def _keep(self, block: bytearray) -> None:
        """Keep the block of a complete message, unless there is a longer one."""
        longest = len(self._spare) if self._spare is not None else 0
        if max(self.size, longest) <= len(block) <= MOST_SPARE:
            self._spare = block

    def _give(self, size: int) -> bytearray | None:
        """Give away the block kept, if it is longer than ``size`` and nobody has a view of it."""
        block = self._spare
        if block is None or len(block) <= size:
            return None
        self._spare = None
        try:
            block.append(0)  # a bytearray that is looked at cannot grow
        except BufferError:
            return None
        block.pop()
        return block

    def _received(self, nbytes: int) -> bytes:
        with memoryview(self._buffer or b"") as view:
            return bytes(view[:nbytes])

    def _length(self, header: bytes, start: int) -> int:
        """Read a header that is not among the remembered ones."""
        digits = header.rstrip(b" ")
        if not digits.isdigit():
            raise bad_header(header, start)
        length = int(digits)
        if len(self._lengths) >= _MOST_HEADERS:
            self._lengths.clear()
        self._lengths[header] = length
        return length

    def _command(self, raw: bytes, start: int) -> str:
        """Read a command, remembering short ones."""
        known = self._commands.get(CMD + raw)
        if known is not None:
            return known
        if not raw or raw.rfind(b"$") - raw.find(b"$") > 1:
            raise bad_command(raw, start)
        try:
            command = raw.decode()
        except UnicodeDecodeError:
            raise bad_command(raw, start) from None
        if len(raw) <= CACHED_COMMAND:
            if len(self._commands) >= _MOST_COMMANDS:
                self._commands.clear()
            self._commands[CMD + raw] = command
        return command

    def _frame(self, source: bytes | bytearray, start: int, stop: int, offset: int) -> Frame:
        """Read a payload of any kind; ``offset`` is where ``source`` begins in the stream."""
        with memoryview(source) as view:
            if not source.startswith(CMD, start, stop):
                return None, bytes(view[start:stop])
            start += len(CMD)
            mark = source.find(MSG, start, stop)
            end = stop if mark < 0 else mark
            command = self._command(bytes(view[start:end]), offset + start)
            return command, None if mark < 0 else bytes(view[mark + len(MSG) : stop])


class Decoder:
    """Turns a stream of bytes, however it was split, into frames.

    :param header_len: length of a header in bytes, 1 to 20.
    :param max_frame_size: the longest payload accepted, in bytes.
    :param scratch: shared with other decoders that run in the same thread; own one by default.

    Either :meth:`feed` it, or receive into :meth:`get_buffer` and tell :meth:`buffer_updated`.
    """

    __slots__ = (
        "_block",
        "_direct",
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
    )

    def __init__(
        self,
        header_len: int = DEFAULT_HEADER_LEN,
        max_frame_size: int = DEFAULT_MAX_FRAME_SIZE,
        scratch: Scratch | None = None,
    ) -> None:
        self._header_len = checked_header_len(header_len)
        self._limit = checked_frame_limit(max_frame_size)
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
        """Bytes held of a frame that is not complete yet."""
        if self._need < 0:
            return len(self._head)
        return self._header_len + self._have

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
        else:
            block = self._block or bytearray()
            # As much again as has come, so that memory follows what was received.
            end = max(2 * have, len(block), LEAST_BLOCK)
            spare = scratch._give(end) if end < need else None
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

    @staticmethod
    def _again(error: FramingError) -> FramingError:
        return FramingError(error.reason, error.position)

    def _shared(self) -> Scratch:
        if self._scratch is None:
            self._scratch = Scratch()
        return self._scratch

    def _reserve(self, size: int) -> bytearray:
        """Make the block at least ``size`` long; a view that somebody keeps stays valid."""
        block = self._block or bytearray()
        if len(block) < size:
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
        block = self._block
        if block is None:
            self._block = block = bytearray()
        self._have = end = have + len(data)
        try:
            block[have:end] = data
        except BufferError:
            self._block = block[:have] + data

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

    def _split(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        try:
            self._frames(data, frames)
        except FramingError as error:
            self.error = error.with_traceback(None)
            self._forget()
        if self.error is not None and not frames:
            raise self._again(self.error)
        self.frames += len(frames)
        return frames

    def _frames(self, data: bytes, frames: list[Frame]) -> None:
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
        header_len, limit = self._header_len, self._limit
        base = self.position - at  # where data begins in the stream
        end = len(data)
        width = self._width
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
                    if len(heads) >= _MOST_HEADERS:
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
