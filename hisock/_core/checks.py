"""Checks of options, with errors that say what was expected."""

from __future__ import annotations

from typing import Any, Final

_EXPECTED = {
    "announce": "'all', 'group' or 'none'",
    "on_flood": "'disconnect' or 'pause'",
    "on_slow": "'disconnect', 'drop' or a function of the client and its backlog",
    "max_connections": "0 or more",
    "offline_buffer": "0 or more",
    "workers": "1 or more",
    "max_connections_per_ip": "0 or more",
    "latest_ahead": "0 or more",
    "restart_after": "from 0 to 86400 seconds, or None",
    "loop": "'auto', 'asyncio' or 'uvloop'",
}


def require(holds: bool, name: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} is {_EXPECTED.get(name, 'more than 0')}, not {value!r}")


def require_numbers(options: object, names: str, optional: str = "") -> None:
    """Refuse options that are no numbers.

    :param names: of the attributes, with spaces between them.
    :param optional: of those that may be ``None``, likewise.
    :raises TypeError: one of them is no number.
    """
    for name in names.split():
        require_number(name, getattr(options, name))
    for name in optional.split():
        if getattr(options, name) is not None:
            require_number(name, getattr(options, name))


def require_number(name: str, value: object) -> None:
    """Refuse an option that is no number, such as a text from the environment.

    :raises TypeError: it is none.
    """
    if not hasattr(value, "__float__"):
        raise TypeError(f"{name} is a number, not {value!r}")
    if value != value:  # not a number: every comparison with it is false
        raise ValueError(f"{name} is a number, not {value!r}")


#: Seconds from which on a time-out is none: some systems cannot wait for longer at once.
ENDLESS: Final = 4_000_000


def require_seconds(name: str, value: Any) -> None:
    """Refuse an option that is no time, or a time that no system can wait for.

    :raises TypeError: it is no number.
    :raises ValueError: it is not more than 0, or as good as endless.
    """
    require_number(name, value)
    require(value > 0, name, value)
    if value >= ENDLESS:
        raise ValueError(f"{name} is less than {ENDLESS} seconds, not {value!r}")


def seconds(timeout: Any) -> float | None:
    """A time-out that somebody gives, checked: the one place for all of them.

    :param timeout: seconds; 0 or less is over at once. ``None`` and what is longer than any system
        waits, as infinity, is no limit.
    :returns: seconds, or ``None`` for no limit.
    :raises TypeError: it is no number.
    :raises ValueError: it is NaN, which would never be over.
    """
    if timeout is None or (timeout.__class__ is float and 0 < timeout < ENDLESS):
        return timeout
    require_number("timeout", timeout)
    return timeout if timeout < ENDLESS else None
