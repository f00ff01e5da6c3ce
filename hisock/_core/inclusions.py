"""Routers that are included more than once: commands for each prefix, events and ticks once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from hisock._core.routes import Part, Route


class Inclusions:
    """The handlers and ticks that routers, and objects with handlers, have brought."""

    def __init__(self) -> None:
        # The functions are kept because the origin of a method holds the id of its object.
        self._found: dict[Hashable, tuple[str, Callable[..., Any]]] = {}

    def new(
        self, part: Part, prefix: str, is_event: Callable[[str], bool]
    ) -> list[tuple[str | None, Route]]:
        """Return the routes that are to be registered, each with its name there.

        :param is_event: whether a name is that of a reserved event, which has no prefix.
        :raises ValueError: a command would be included twice by the same name, or nothing is new.
        """
        found = dict(self._found)
        fresh: list[tuple[str | None, Route]] = []
        repeated: ValueError | None = None
        for route in part.__routes__():
            name, full = route.name, prefix + route.prefix
            prefixed = name is not None and (route.options["override"] or not is_event(name))
            if name is not None and prefixed:
                name = full + name
            key = route.origin or route.func, name
            if key not in found:
                found[key] = full, route.func
                fresh.append((name, route))
                continue
            repeated = _twice(name, found[key][0], full)
            if prefixed:
                raise repeated
        if repeated is not None and not fresh:
            raise repeated
        self._found = found
        return fresh


def _twice(name: str | None, first: str, second: str) -> ValueError:
    what = "a tick" if name is None else f"the handler of {name!r}"
    return ValueError(
        f"{what} is included already, with the prefix {first!r}, and would be once more, with "
        f"{second!r}; a router may be included again only for commands under another prefix"
    )
