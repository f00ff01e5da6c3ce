"""From plain text to bytes, text and numbers: messages whose type needs no structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# "\0" is bytes(True), which is what 2.0.2 puts on the wire for True; its False is no message.
_BOOLS = {b"true": True, b"True": True, b"1": True, b"\x00": True}
_BOOLS.update({b"false": False, b"False": False, b"0": False})


def _decode_str(message: bytes) -> str:
    return message.decode("utf-8")


def _decode_int(message: bytes) -> int:
    try:
        return int(message)
    except ValueError:
        return truncate(message)


def truncate(message: bytes) -> int:
    """An int of what 2.0.2 takes for one too: the text of a float or of a bool.

    :raises ValueError: it is neither.
    """
    if message in _BOOLS:
        return int(_BOOLS[message])
    try:
        return int(float(message))
    except (ValueError, OverflowError):
        raise ValueError(f"{_shown(message)} is not a whole number") from None


def truncating(warn: Callable[[bytes, int], object]) -> Callable[[bytes], int]:
    """Decode an int as 2.0.2 does, and say when the first message loses its fraction.

    :param warn: called, once, with the message and what has become of it.
    """
    warned = False

    def decode(message: bytes) -> int:
        nonlocal warned
        try:
            return int(message)
        except ValueError:
            value = truncate(message)
        if not warned and message not in _BOOLS and value != float(message):
            warned = True
            warn(message, value)
        return value

    return decode


def decode_whole(message: bytes) -> int:
    try:
        return int(message)
    except ValueError:
        raise ValueError(f"{_shown(message)} is not a whole number") from None


def _decode_float(message: bytes) -> float:
    try:
        return float(message)
    except ValueError:
        raise ValueError(f"{_shown(message)} is not a number") from None


def _decode_bool(message: bytes) -> bool:
    try:
        return _BOOLS[message]
    except KeyError:
        raise ValueError(f"{_shown(message)} is none of true, false, True, False, 1, 0") from None


def _shown(message: bytes) -> str:
    return repr(message) if len(message) <= 40 else f"{message[:40]!r}…"


DECODERS: dict[Any, Callable[[bytes], Any] | None] = {
    bytes: None,
    bytearray: bytearray,
    memoryview: memoryview,
    str: _decode_str,
    int: _decode_int,
    float: _decode_float,
    bool: _decode_bool,
}
ZEROS: dict[Any, Callable[[], Any]] = {kind: kind for kind in DECODERS}
ZEROS[memoryview] = lambda: memoryview(b"")
#: In which order the plain types of a union are tried: anything is text, and anything is bytes.
UNION_ORDER = (int, float, bool, str, bytes, bytearray, memoryview)
