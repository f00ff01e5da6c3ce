"""Nothing that a peer sends can add a line to a log, fill it, or be a secret in it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from hisock._core.reporting import MOST_SHOWN, LogLimit, loggable, one_line, withhold, without_bytes
from hisock.exceptions import FramingError
from hisock.framing import Decoder, build_raw

TOKEN = "open-sesame"


class Nameless(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")


class Odder(Exception):
    """An error that fails with more than an ``Exception`` when it is shown."""

    def __str__(self) -> str:
        raise GeneratorExit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode and 'quotes'", "plain, ünïcode and 'quotes'"),
        ("two\nlines\r\x1b[2J\x00", "two\\nlines\\r\\x1b[2J\\x00"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
        (ValueError("bad\nthing"), "bad\\nthing"),
        (Nameless(), "Nameless"),
        (Odder(), "Odder"),
    ],
)
def test_a_text_is_one_printable_line(text: Any, shown: str) -> None:
    assert one_line(text) == shown


def test_a_text_is_cut() -> None:
    assert one_line("x" * MOST_SHOWN) == "x" * MOST_SHOWN
    assert one_line("x" * 10_000_000) == "x" * MOST_SHOWN + "..."
    assert one_line("abcdef", most=3) == "abc..."


class Oddity(Exception):
    """An error of a program."""


def raised(exc: BaseException) -> BaseException:
    """An exception with a traceback."""
    try:
        raise exc
    except BaseException as caught:
        return caught


def formatted(exc: BaseException) -> str:
    return logging.Formatter().formatException((type(exc), exc, exc.__traceback__))


def test_a_harmless_exception_is_logged_as_it_is() -> None:
    exc = raised(ValueError("it is 5"))
    assert loggable(exc) is exc


def test_an_exception_with_a_message_of_several_lines_is_logged_on_one() -> None:
    exc = raised(Oddity("x\nCRITICAL forged"))
    shown = loggable(exc)
    text = formatted(shown)
    assert text.splitlines()[-1].endswith("Oddity: x\\nCRITICAL forged")
    assert "in raised" in text, "the traceback is that of the original"
    assert str(exc) == "x\nCRITICAL forged", "the original stays as it is"


def test_causes_and_contexts_are_looked_at_too() -> None:
    def fail() -> None:
        try:
            raise OSError("a\nforged line")
        except OSError as exc:
            raise ValueError("harmless") from exc

    with pytest.raises(ValueError, match="harmless") as caught:
        fail()
    lines = formatted(loggable(caught.value)).splitlines()
    assert "OSError: a\\nforged line" in lines
    assert "ValueError: harmless" in lines
    assert "The above exception was the direct cause of the following exception:" in lines


def test_exceptions_that_cause_each_other_end() -> None:
    one, two = raised(ValueError("a\nb")), raised(ValueError("c"))
    one.__context__, two.__context__ = two, one
    assert str(loggable(one)) == "a\\nb"


def test_what_is_withheld_is_in_no_part_of_the_log() -> None:
    def look_up(token: str) -> None:
        try:
            dict[str, int]()[token]
        except KeyError as exc:
            raise LookupError(f"no account for {token!r}") from exc

    with pytest.raises(LookupError) as caught:
        look_up(TOKEN)
    withhold(caught.value)
    text = formatted(loggable(caught.value))
    assert TOKEN not in text
    assert "LookupError" in text
    assert "KeyError" in text
    assert "in look_up" in text


def test_an_error_caused_by_a_withheld_one_is_withheld_too() -> None:
    inner = raised(KeyError("open-sesame"))
    withhold(inner)
    outer = raised(RuntimeError("failed for open-sesame"))
    outer.__cause__ = inner
    assert "open-sesame" not in formatted(loggable(outer))


@pytest.mark.parametrize("data", [b'token": "secret', b"'to\"ken: secret '", b"x" * 16])
def test_the_bytes_of_a_bad_header_can_be_left_out(data: bytes) -> None:
    decoder = Decoder()
    with pytest.raises(FramingError) as caught:
        decoder.feed(data.ljust(16, b"?"))
    assert without_bytes(caught.value).startswith("bad header (at byte ")
    assert "secret" not in without_bytes(caught.value)
    assert "header_len" in without_bytes(caught.value)


def test_the_bytes_of_a_bad_command_can_be_left_out() -> None:
    decoder = Decoder()
    with pytest.raises(FramingError) as caught:
        decoder.feed(build_raw(b"$CMD$$secret$"))
    assert without_bytes(caught.value) == "the command (at byte 21 of the stream)"


def test_lines_over_the_limit_are_counted() -> None:
    limit = LogLimit(rate=1, burst=2)
    assert [limit.permits(0.0) for _ in range(5)] == [True, True, False, False, False]
    assert limit.reset() == 3
    assert limit.withheld == 0
    assert limit.permits(1.0)
