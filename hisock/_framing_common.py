"""What the two implementations of the framing core share: limits, checks and the words of errors.

Everything here is off the hot path. It is written once so that the compiled and the Python decoder
cannot disagree about the text or the place of an error.
"""

from __future__ import annotations

import sys
from operator import index
from typing import NoReturn

from hisock.exceptions import FramingError

DEFAULT_HEADER_LEN = 16
MAX_HEADER_LEN = 20
DEFAULT_MAX_FRAME_SIZE = 16 * 1024 * 1024

DEFAULT_SCRATCH_SIZE = 65536
#: Bytes that a decoder with short reads receives at most at once: those of clients that are not
#: admitted yet have them, since what follows a hello has to wait.
FIRST_READ = 4096
#: A message at least this long (bytes) is kept by reference in an outbox instead of being copied.
BY_REFERENCE = 32768
#: Small frames are taken from an outbox in pieces of at most this (bytes); it is below the size
#: from which malloc asks the system each time.
MOST_JOINED = 98304
#: Digits of the length of an entry of a batch between servers.
ENTRY_DIGITS = 8
#: Messages for other servers that are gathered at most before they are counted and bounded.
MOST_GATHERED = 64
#: Bytes up to which frames for the same outboxes are joined: one takes all of them or none.
MOST_TOGETHER = 65536
#: The shortest block (bytes) for an incomplete frame that needs as much.
LEAST_BLOCK = 64
#: The longest block (bytes) that a scratch keeps for the next large message.
MOST_SPARE = 4 * 1024 * 1024
#: A command at most this long (bytes) is remembered, so that equal commands are one ``str``.
CACHED_COMMAND = 64
#: Commands (for each direction) and headers that the Python core remembers at most.
MOST_COMMANDS = 256
MOST_HEADERS = 4096

#: A message of a structure at most this long (bytes) may be a falsy one.
LONGEST_FALSY = 5
#: A call's number with at most this many digits is split off without being parsed.
MOST_DIGITS = 18

#: Frames in one read from which on the time that they take is measured; also those of one part.
MANY = 256
#: Bytes that a read takes at most, once an iteration of the loop has spent enough on others.
SHORT_READ = 16384
#: Bytes up to which a chunk is written past the transport; it keeps a longer one without a copy.
LONGEST_DIRECT = 65536

_SHOWN = 64  # bytes or characters of a command that an error repeats


def checked_header_len(header_len: int) -> int:
    """Return ``header_len``; :class:`ValueError` unless it is 1 to 20."""
    length = index(header_len)
    if not 1 <= length <= MAX_HEADER_LEN:
        raise ValueError(f"header_len must be 1 to {MAX_HEADER_LEN}, not {length}")
    return length


def checked_frame_limit(max_frame_size: int) -> int:
    """Return ``max_frame_size``, at most ``sys.maxsize``; :class:`ValueError` if below 1."""
    limit = index(max_frame_size)
    if limit < 1:
        raise ValueError(f"max_frame_size must be at least 1, not {limit}")
    return min(limit, sys.maxsize)


def checked_scratch_size(size: int) -> int:
    """Return ``size``; :class:`ValueError` if below 1."""
    wanted = index(size)
    if wanted < 1:
        raise ValueError(f"the size of a scratch must be at least 1, not {wanted}")
    return wanted


def build_header(length: int, header_len: int = DEFAULT_HEADER_LEN) -> bytes:
    """Build the header of a payload of ``length`` bytes."""
    header_len = checked_header_len(header_len)
    length = index(length)
    if length < 0:
        raise ValueError(f"a payload cannot be {length} bytes long")
    header = b"%-*d" % (header_len, length)
    if len(header) > header_len:
        raise ValueError(
            f"a payload of {length} bytes does not fit in a header of {header_len} digits"
        )
    return header


def check_command(command: str) -> None:
    """Raise unless ``command`` can be sent and read back as what it is.

    :raises TypeError: it is not a ``str``.
    :raises ValueError: it is empty, holds a ``$...$`` pair, ends with ``$MSG`` or is not valid
        Unicode text.
    """
    if not isinstance(command, str):
        raise TypeError(f"a command must be str, not {type(command).__name__}")
    if not command:
        raise ValueError("a command must not be empty")
    if command.rfind("$") - command.find("$") > 1:
        raise ValueError(
            f"the command {_shown(command)} holds a $...$ pair, which only reserved names may"
        )
    if command.endswith("$MSG"):
        # With "$MSG$" after it, the first "$MSG$" would be found four characters too early.
        raise ValueError(
            f"the command {_shown(command)} ends with $MSG, which would be read as its end"
        )
    try:
        command.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the command {_shown(command)} is not valid Unicode text: {error.reason}"
        ) from None


def _shown(command: str | bytes) -> str:
    """A command as an error repeats it: cut, since a peer may have sent millions of characters."""
    return repr(command[:_SHOWN]) + ("..." if len(command) > _SHOWN else "")


def reject_command(command: str) -> NoReturn:
    """Raise the error for a command that :func:`check_command` does not let pass."""
    check_command(command)
    # Only if the compiled core refused what the Python one takes.
    raise ValueError(f"{_shown(command)} cannot be sent")  # pragma: no cover - the cores agree


def reject_message(message: object) -> NoReturn:
    """Raise the error for a message that is neither bytes nor None."""
    raise TypeError(f"a message must be bytes or None, not {type(message).__name__}")


def reject_frame(frame: object, what: str = "frame") -> NoReturn:
    """Raise the error for a frame or payload that is not bytes."""
    raise TypeError(f"a {what} must be bytes, not {type(frame).__name__}")


def reject_count(nbytes: int, room: int) -> NoReturn:
    """Raise the error for a count that the buffer handed out cannot have received (-1: none)."""
    if room < 0:
        raise ValueError("buffer_updated() needs a get_buffer() before it")
    raise ValueError(f"{nbytes} bytes cannot have come into a buffer of {room} bytes")


def bad_header(header: bytes, start: int) -> FramingError:
    """Describe a header (at byte ``start``) that is not digits and then only spaces."""
    bad = len(header) - len(header.lstrip(b"0123456789"))
    if bad:
        rest = header[bad:]
        bad += len(rest) - len(rest.lstrip(b" "))
    return FramingError(
        f"bad header {header!r}: expected one or more digits and then only spaces, "
        f"found {header[bad : bad + 1]!r}",
        start + bad,
    )


def too_long(header: bytes, start: int, limit: int) -> FramingError:
    """Describe a header (at byte ``start``) that claims more than ``limit`` bytes."""
    return FramingError(
        f"a frame of {int(header)} bytes is announced, the limit is {limit} bytes", start
    )


def bad_command(command: bytes, start: int) -> FramingError:
    """Describe the bytes of a command (at byte ``start``) that the wire format does not allow."""
    if not command:
        return FramingError("the command of a $CMD$ frame is empty", start)
    shown = _shown(command)
    try:
        command.decode()
    except UnicodeDecodeError as error:
        return FramingError(
            f"the command {shown} is not UTF-8: {error.reason}", start + error.start
        )
    return FramingError(f"the command {shown} holds a $...$ pair, which is reserved", start)


def cut_short(received: int, expected: int, part: str, end: int) -> FramingError:
    """Describe a stream that ended (at byte ``end``) inside a header or payload."""
    return FramingError(
        f"the stream ended inside a {part}: {received} of {expected} bytes came", end
    )
