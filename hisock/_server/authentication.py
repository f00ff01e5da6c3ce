"""Who is let in: what a client says of itself, and the program's decision about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple


class JoinRequest(NamedTuple):
    """A client that wants to join.

    :ivar name: the name it wants to go by, or ``None``.
    :ivar group: the group it wants to be in, or ``None``.
    :ivar addr: its address, ``(ip, port)``.
    :ivar token: what it gave as ``token``, or ``None``. Not shown when a request is printed.
    """

    name: str | None
    group: str | None
    addr: tuple[str, int]
    token: str | None

    def __repr__(self) -> str:
        shown = None if self.token is None else "..."
        return (
            f"JoinRequest(name={self.name!r}, group={self.group!r}, addr={self.addr!r}, "
            f"token={shown})"
        )


Authenticate = Callable[[JoinRequest], Any]


def bind_authenticate(func: Callable[..., Any]) -> Authenticate:
    """A function of a :class:`JoinRequest` from one that takes the request, or parts of it.

    :raises TypeError: it takes something else.
    """
    names = [
        parameter.name
        for parameter in inspect.signature(func).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    if names and set(names) <= set(JoinRequest._fields):
        return lambda request: func(**{name: getattr(request, name) for name in names})
    if len(names) == 1:
        return func
    raise TypeError(
        f"{getattr(func, '__qualname__', func)!r} cannot authenticate: it has to take the "
        f"JoinRequest, or some of its parts by their names ({', '.join(JoinRequest._fields)})"
    )
