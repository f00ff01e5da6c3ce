"""Checks of options, with errors that say what was expected."""

from __future__ import annotations

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
