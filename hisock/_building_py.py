"""Building frames in Python; ``_building.pyx`` is its compiled twin."""

from __future__ import annotations

from hisock._framing_common import (
    CACHED_COMMAND,
    DEFAULT_HEADER_LEN,
    MOST_COMMANDS,
    MOST_HEADERS,
    build_header,
    check_command,
    checked_header_len,
    reject_frame,
    reject_message,
)

CMD = b"$CMD$"
MSG = b"$MSG$"

#: Commands that were sent before, with the bytes of a frame from $CMD$ to $MSG$.
PREFIXES: dict[str, bytes] = {}
_HEADERS: dict[int, dict[int, bytes]] = {}
#: What frames begin with, up to their messages, by the length of headers; then by the command and
#: the length of the message, which is None without one.
Beginnings = dict[str, dict[int | None, bytes]]
_BEGINNINGS: dict[int, Beginnings] = {}


def command_prefix(command: str) -> bytes:
    """Return a command as bytes, from $CMD$ to $MSG$; raises if the command is not allowed."""
    known = PREFIXES.get(command) if type(command) is str else None
    if known is not None:
        return known
    check_command(command)
    prefix = CMD + command.encode() + MSG
    if type(command) is str and len(prefix) <= len(CMD) + CACHED_COMMAND + len(MSG):
        if len(PREFIXES) >= MOST_COMMANDS:
            PREFIXES.clear()
        PREFIXES[command] = prefix
    return prefix


def headers_of(header_len: int) -> dict[int, bytes]:
    """Return the headers of that length that were built before, by the length they claim."""
    return _HEADERS.setdefault(header_len, {})


def remember_header(headers: dict[int, bytes], length: int, header_len: int) -> bytes:
    """Build a header that is not among those built before."""
    header = build_header(length, header_len)
    if len(headers) >= MOST_HEADERS:
        headers.clear()
    headers[length] = header
    return header


def beginnings_of(header_len: int) -> Beginnings:
    """Return what frames began with that were sent before, with headers of that length."""
    return _BEGINNINGS.setdefault(header_len, {})


def remember_beginning(
    beginnings: Beginnings, command: str, length: int | None, beginning: bytes
) -> None:
    """Remember what the frame of a command with a message of that length begins with."""
    if command not in PREFIXES:
        return  # it is too long
    if sum(map(len, list(beginnings.values()))) >= MOST_HEADERS:
        beginnings.clear()
    beginnings.setdefault(command, {})[length] = beginning


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
