"""The program's function for errors of its handlers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from hisock._core.client_info import ClientInfo
from hisock._core.public import publish


class ErrorContext(NamedTuple):
    """The origin of an error.

    :ivar command: the command or event whose handler failed; ``None`` if there is none, as when a
        connection is lost.
    :ivar client: on a server, the client that sent the frame; ``None`` if no client did.
    """

    command: str | None
    client: ClientInfo | None


#: ``(exc, context)``; functions of 2.0.2 take ``(exc)``.
ErrorHandler = Callable[[Exception, ErrorContext], Any] | Callable[[Exception], Any]
#: What :func:`bind_error_handler` makes of one.
BoundErrorHandler = Callable[[Exception, ErrorContext], Any]


def bind_error_handler(func: ErrorHandler) -> BoundErrorHandler:
    """Make a function of an error and its context from one that takes either or both.

    :raises TypeError: it is async, or takes neither one argument nor two.
    """
    if not callable(func):
        raise TypeError(f"error_handler is a function, not {func!r}")
    name = getattr(func, "__qualname__", repr(func))
    if inspect.iscoroutinefunction(func):
        raise TypeError(f"the error handler {name} is async; it has to be a plain function")
    if _wants_context(func, name):
        return func  # type: ignore[return-value]  # its signature was looked at
    return lambda exc, context: func(exc)  # type: ignore[call-arg]  # likewise


def _wants_context(func: Callable[..., Any], name: str) -> bool:
    try:
        signature = inspect.signature(func)
    except ValueError:  # some built-ins tell nothing about themselves
        return False
    required = [
        each
        for each in signature.parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if len(required) < 2:  # a second parameter with a default is for the program's own use
        return list(signature.parameters)[1:2] == ["context"]
    if len(required) > 2 or required[1].kind is inspect.Parameter.KEYWORD_ONLY:
        raise TypeError(f"the error handler {name} takes (exc, context) or (exc)")
    return True


publish("hisock", globals(), ("ErrorContext",))
