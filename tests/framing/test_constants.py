"""The compiled core repeats constants of the Python one; here they are compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hisock
from hisock import _framing_common as common

SOURCES = Path(hisock.__file__).parent


def repeated() -> list[tuple[str, str, int]]:
    """File, name in ``_framing_common`` and value of each constant that says it is from there."""
    found = []
    for path in sorted((*SOURCES.glob("*.pyx"), *SOURCES.glob("*.pxd"))):
        for line in path.read_text().splitlines():
            constant = re.match(r"    (\w+) = (\d+)  # (.*)", line)
            if constant is None or "_framing_common" not in constant[3]:
                continue
            name, value, note = constant.groups()
            other = re.match(r"([A-Z_]+) in _framing_common", note)
            found.append((path.name, other[1] if other else name, int(value)))
    return found


def test_the_constants_are_found() -> None:
    assert {name for _, name, _ in repeated()} == {
        "BY_REFERENCE",
        "CACHED_COMMAND",
        "ENTRY_DIGITS",
        "FIRST_READ",
        "LEAST_BLOCK",
        "LONGEST_FALSY",
        "MANY",
        "MAX_HEADER_LEN",
        "MOST_DIGITS",
        "LONGEST_DIRECT",
        "MOST_GATHERED",
        "MOST_JOINED",
        "MOST_SPARE",
        "MOST_TOGETHER",
        "SHORT_READ",
    }


@pytest.mark.parametrize(("source", "name", "value"), repeated())
def test_a_constant_of_the_compiled_core_is_that_of_the_python_one(
    source: str, name: str, value: int
) -> None:
    assert getattr(common, name) == value, source
