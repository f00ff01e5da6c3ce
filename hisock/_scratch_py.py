"""What the decoders in Python share; the compiled ones have theirs in ``_framing.pyx``."""

from __future__ import annotations

from hisock._building_py import CMD, MSG
from hisock._framing_common import (
    CACHED_COMMAND,
    DEFAULT_SCRATCH_SIZE,
    MOST_COMMANDS,
    MOST_HEADERS,
    MOST_SPARE,
    bad_command,
    bad_header,
    checked_scratch_size,
)

Frame = tuple[str | None, bytes | None]


class Scratch:
    """What decoders that never run at the same time share: a receive buffer and command names.

    Also the block of the last large message, up to 4 MiB, where the next one as large goes: fresh
    memory would cost more than receiving into it. Never use a scratch from two threads at once.

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
            except ValueError:  # a caller released it
                view = None
        if view is None:
            if self._buffer is None or len(self._buffer) != self.size:
                self._buffer = bytearray(self.size)
            self._view = view = memoryview(self._buffer)
        return view

    def narrow(self, size: int) -> None:
        """Hand out the first ``size`` bytes of the buffer only, until :meth:`widen`."""
        self.widen()
        self._view = self._writable()[:size]

    def widen(self) -> None:
        """Hand out the whole buffer again."""
        self._view = None

    def _keep(self, block: bytearray) -> None:
        """Keep the block of a complete message in place of the one before."""
        if self.size <= len(block) <= MOST_SPARE:
            self._spare = block

    def _give(self, size: int, need: int) -> bytearray | None:
        """Give away the block kept, if it is longer than ``size`` and a message needs all of it.

        Never one of which a view is still in use.
        """
        block = self._spare
        if block is None or not size < len(block) <= need:
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
        if len(self._lengths) >= MOST_HEADERS:
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
            if len(self._commands) >= MOST_COMMANDS:
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
