"""Messages whose type needs no structure: what text is which number, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from hisock._core.plain_text import DECODERS, ZEROS, decode_whole, truncate, truncating


@pytest.mark.parametrize(
    ("message", "value"), [(b"7", 7), (b"2.9", 2), (b"-2.9", -2), (b"True", 1), (b"\x00", 1)]
)
def test_an_int_of_whatever_2_0_2_takes_for_one(message: bytes, value: int) -> None:
    decode = DECODERS[int]
    assert decode is not None
    assert decode(message) == value


@pytest.mark.parametrize("message", [b"seven", b"nan", b"inf", b""])
def test_what_is_no_int(message: bytes) -> None:
    with pytest.raises(ValueError, match="is not a whole number"):
        truncate(message)


def test_a_fraction_that_is_lost_is_told_once() -> None:
    told: list[tuple[bytes, int]] = []
    decode = truncating(lambda message, value: told.append((message, value)))
    assert [decode(message) for message in (b"1", b"2.0", b"true", b"3.7", b"4.7")] == [
        *(1, 2, 1),
        *(3, 4),
    ]
    assert told == [(b"3.7", 3)]
    with pytest.raises(ValueError, match="is not a whole number"):
        decode(b"seven")


def test_a_whole_number_has_no_fraction() -> None:
    assert decode_whole(b"7") == 7
    with pytest.raises(ValueError, match=r"b'7\.0' is not a whole number"):
        decode_whole(b"7.0")


@pytest.mark.parametrize(
    ("kind", "message", "why"),
    [
        (float, b"wide", "is not a number"),
        (bool, b"yes", "is none of true, false"),
        (bool, b"y" * 41, "b'y{40}'…"),
    ],
)
def test_what_does_not_fit_is_shown_and_shortened(kind: Any, message: bytes, why: str) -> None:
    decode = DECODERS[kind]
    assert decode is not None
    with pytest.raises(ValueError, match=why):
        decode(message)


def test_what_no_message_is_taken_for() -> None:
    empty = {kind: zero() for kind, zero in ZEROS.items()}
    assert empty.pop(memoryview) == b""
    assert all(value == kind() for kind, value in empty.items())
