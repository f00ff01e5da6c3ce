"""Requests of clients that the program decides about, and the answers that it can give."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, NamedTuple

from hisock._core import protocol
from hisock._core.client_info import ClientInfo
from hisock._core.http import HttpRequest
from hisock._core.public import publish
from hisock.exceptions import Reject


class JoinRequest(NamedTuple):
    """A client that wants to join.

    :ivar name: the name that it asks for, or ``None``.
    :ivar group: the group that it asks for, or ``None``.
    :ivar addr: its address, ``(ip, port)``.
    :ivar token: the ``token`` that it was made with, or ``None``; ``repr()`` hides it.
    :ivar http: the request that opened its WebSocket (path, query, headers, cookies); ``None``
        over TCP.
    """

    name: str | None
    group: str | None
    addr: tuple[str, int]
    token: str | None
    http: HttpRequest | None = None

    def __repr__(self) -> str:
        shown = None if self.token is None else "..."
        return (
            f"JoinRequest(name={self.name!r}, group={self.group!r}, addr={self.addr!r}, "
            f"token={shown}, http={self.http!r})"
        )


class ChangeRequest(NamedTuple):
    """A client that asks for another name or group.

    :ivar client: the client as it is now.
    :ivar name: the name that it would have; its present one if it asks for another group only.
    :ivar group: the group that it would be in; its present one if it asks for another name only.
    """

    client: ClientInfo
    name: str | None
    group: str | None


@dataclass(frozen=True)
class Accept:
    """Returned by a function registered with ``@server.authenticate`` to admit the client under
    a name, with a group and a session that the server chooses.

    :param name: the client's name, ``None`` for no name; by default the one that it asked for.
    :param group: its group, ``None`` for no group; by default the one that it asked for.
    :param session: what :meth:`~hisock.HiSockServer.session` returns for it, such as its account;
        ``None`` (the default) for what the server's ``session`` option makes.
    :raises ValueError: the name or the group is longer than 1024 characters.
    """

    name: str | EllipsisType | None = ...
    group: str | EllipsisType | None = ...
    session: Any = None

    def __post_init__(self) -> None:
        for text in (self.name, self.group):
            if text is not ...:
                protocol.encode_name(text)

    def identity(self, name: str | None, group: str | None) -> tuple[str | None, str | None]:
        """The name and the group that a client gets when it asked for these."""
        return (
            name if self.name is ... else self.name,
            group if self.group is ... else self.group,
        )


Authenticate = Callable[[JoinRequest], Any]
AuthorizeChange = Callable[[ChangeRequest], Any]


def bind_authenticate(func: Callable[..., Any]) -> Authenticate:
    """Make a function of a :class:`JoinRequest` from one that takes the request or its fields.

    :raises TypeError: it takes something else.
    """
    return _bind(func, "authenticate", JoinRequest)


def bind_authorize_change(func: Callable[..., Any]) -> AuthorizeChange:
    """Make a function of a :class:`ChangeRequest` from one that takes the request or its fields.

    :raises TypeError: it takes something else.
    """
    return _bind(func, "authorize changes", ChangeRequest)


def _bind(
    func: Callable[..., Any], what: str, request_type: type[JoinRequest] | type[ChangeRequest]
) -> Callable[[Any], Any]:
    names = [
        parameter.name
        for parameter in inspect.signature(func).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    fields = request_type._fields
    if names and set(names) <= set(fields):
        return lambda request: func(**{name: getattr(request, name) for name in names})
    if len(names) == 1:
        return func
    raise TypeError(
        f"{getattr(func, '__qualname__', func)!r} cannot {what}: it has to take the "
        f"{request_type.__name__}, or some of its parts by their names ({', '.join(fields)})"
    )


def require_yes(answer: Any) -> None:
    """Raise unless an answer of the program allows what a client asked for.

    :raises Reject: it is ``False``, or a :class:`Reject` that was returned.
    """
    if isinstance(answer, Reject):
        raise answer
    if answer is False or answer is Reject:
        raise Reject


publish("hisock", globals(), ("Accept", "ChangeRequest", "JoinRequest"))
