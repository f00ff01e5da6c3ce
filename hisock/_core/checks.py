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
}


def require(holds: bool, name: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} is {_EXPECTED.get(name, 'more than 0')}, not {value!r}")
