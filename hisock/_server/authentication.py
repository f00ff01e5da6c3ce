"""What the program is asked about a client, and what it can answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, NamedTuple

from hisock._core import protocol
from hisock._core.client_info import ClientInfo
from hisock._core.http import HttpRequest
from hisock.exceptions import Reject


class JoinRequest(NamedTuple):
    """A client that wants to join.

    :ivar name: the name it wants to go by, or ``None``.
    :ivar group: the group it wants to be in, or ``None``.
    :ivar addr: its address, ``(ip, port)``.
    :ivar token: what it gave as ``token``, or ``None``. Not shown when a request is printed.
    :ivar http: what its WebSocket began with: path, query, headers, cookies; ``None`` over TCP.
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
    """A client that wants another name, or to be in another group.

    :ivar client: the client as it is now.
    :ivar name: the name it would have; its present one where it wants another group only.
    :ivar group: the group it would be in; its present one where it wants another name only.
    """

    client: ClientInfo
    name: str | None
    group: str | None


@dataclass(frozen=True)
class Accept:
    """Returned by a function registered with ``@server.authenticate``: the client is let in, as
    what is said here.

    :param name: the name it goes by, whatever it asked for; left out, the one it asked for.
    :param group: the group it is in; left out, the one it asked for.
    :param session: what :meth:`~hisock.HiSockServer.session` gives for it, such as its account;
        ``None`` for what the server's ``session`` option makes.
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
        """The name and the group of a client that asked for these."""
        return (
            name if self.name is ... else self.name,
            group if self.group is ... else self.group,
        )


Authenticate = Callable[[JoinRequest], Any]
AuthorizeChange = Callable[[ChangeRequest], Any]


def bind_authenticate(func: Callable[..., Any]) -> Authenticate:
    """A function of a :class:`JoinRequest` from one that takes the request, or parts of it.

    :raises TypeError: it takes something else.
    """
    return _bind(func, "authenticate", JoinRequest)


def bind_authorize_change(func: Callable[..., Any]) -> AuthorizeChange:
    """A function of a :class:`ChangeRequest` from one that takes the request, or parts of it.

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
    """Raise unless an answer of the program lets a client do what it asked for.

    :raises Reject: it is ``False``, or a :class:`Reject` that was returned.
    """
    if isinstance(answer, Reject):
        raise answer
    if answer is False or answer is Reject:
        raise Reject
