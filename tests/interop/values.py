"""What is sent to and fro: per kind, the value, and what 2.0.2 makes of it."""

from __future__ import annotations

from typing import Any

#: Kinds that both sides cast to the same value, and values that survive 2.0.2 in both directions.
SAME: dict[str, list[Any]] = {
    "str": ["hello", "héllo ඞ \U0001f40d", "two\nlines\ttab", " spaces ", "with $MSG$ inside", ""],
    "int": [123, -7, 10**30, 0],
    "float": [1.5, -0.25, 1e300, 0.1 + 0.2],
    "list": [[1, "two", None, {"a": True}], ["ඞ", [[]]], [2.5]],
    "dict": [{"x": 1, "y": [2.5, "z"]}, {"ඞ": {"deep": {"er": None}}}],
    "bytes": [b"plain", bytes(range(256)), b"$MSG$ $CMD$ $DISCONN$", b""],
}


def portable(value: Any) -> Any:
    """A value as it stands in the JSON orders and reports of an agent."""
    return value.hex() if isinstance(value, bytes) else value


CASES = [(kind, value) for kind, values in SAME.items() for value in values]
