"""From a user's function to a callable that takes what the dispatcher has.

All that can be known when a handler is registered is decided here, once: how many arguments it
wants, what type its message has, whether it wants the client as a dict. Per message nothing is
inspected.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from hisock._core.cache import payload_of
from hisock._core.client_info import ClientInfo
from hisock._core.codec import Cast, Codec
from hisock._core.log_fields import fields
from hisock._core.middleware import Context
from hisock._core.mistakes import check_name, check_order
from hisock._core.plain_text import truncating
from hisock._core.signature import Signature, argument_count
from hisock.exceptions import InvalidTypeCast
from hisock.framing import handler_of_one, handler_of_two

logger = logging.getLogger("hisock")

#: The argument counts of each reserved event, in ascending order.
Events = dict[str, tuple[int, ...]]

SERVER_EVENTS: Final[Events] = {
    "join": (1,),
    "leave": (1,),
    "name_change": (3,),
    "group_change": (3,),
    "message": (2, 3),
    "*": (3,),
}
#: Reserved on servers of a cluster only, likewise.
CLUSTER_EVENTS: Final[Events] = {"node_join": (1,), "node_leave": (1, 2)}
CLIENT_EVENTS: Final[Events] = {
    "client_connect": (1,),
    "client_disconnect": (1,),
    "force_disconnect": (0,),
    "*": (2,),
}
#: Reserved on clients that reconnect only: 2.0.2 programs use these names for commands.
RECONNECT_EVENTS: Final[Events] = {"disconnect": (1,), "reconnect": (0,)}


class Callables(NamedTuple):
    """A handler of an unreserved command, ready to be called.

    ``full(client, message)`` for a message that is not empty and ``empty(client)`` for none; on
    the client's side both come without the ``client``.
    """

    full: Callable[..., Any]
    empty: Callable[..., Any]


class Binding(Protocol):
    """How handlers are bound on one side, the server's or the client's.

    :ivar events: the reserved events there.
    """

    events: Events

    def command(self, func: Callable[..., Any], signature: Signature, name: str) -> Callables:
        """Bind the handler of a command.

        :raises TypeError: it takes too many arguments, or a type that no message can have.
        """

    def event(
        self, func: Callable[..., Any], signature: Signature, name: str
    ) -> Callable[..., Any]:
        """Bind the handler of a reserved event.

        :raises TypeError: it takes a number of arguments that the event does not have.
        """

    def context(self, name: str, *args: Any) -> Context:
        """What middleware sees of a handler that is called with ``args``."""


class ServerBinding:
    """Handlers of a server: they are called with the client, and the message."""

    def __init__(self, codec: Codec) -> None:
        self.events = SERVER_EVENTS
        self._codec = codec

    def command(self, func: Callable[..., Any], signature: Signature, name: str) -> Callables:
        """Bind ``func(client, message)``, ``func(client)`` or ``func()``."""
        count = argument_count(signature, name, (0, 1, 2), False, " (client, message)")
        check_order(signature, count)
        check_name(signature, name, count)
        if signature.wants_dict(0):
            func = with_dict(func)
        cast = cast_of(signature, 1, count, self._codec)
        if count == 0:
            return Callables(lambda client, message: func(), lambda client: func())
        if count == 1:
            return Callables(lambda client, message: func(client), func)

        def empty(client: ClientInfo) -> Any:
            return func(client, cast_input(name, cast, None))

        if signature.has_default(1):
            empty = func
        if cast.decode is None:
            return Callables(func, empty)
        return Callables(handler_of_two(func, cast.decode, partial(recover, name, cast)), empty)

    def event(
        self, func: Callable[..., Any], signature: Signature, name: str
    ) -> Callable[..., Any]:
        """Bind ``func(client, ...)``; ``message`` and ``*`` cast what they are called with."""
        count = argument_count(signature, name, self.events[name], exact=True)
        if name in CLUSTER_EVENTS:  # these are about a node, not about a client
            return func
        check_order(signature, count)
        if signature.wants_dict(0):
            func = with_dict(func)
        if name not in ("message", "*"):
            return func
        message_cast = cast_of(signature, count - 1, count, self._codec)
        if count == 2:
            return lambda client, command, message: func(
                client, cast_input(command, message_cast, payload_of(command, message))
            )
        command_cast = cast_of(signature, 1, count, self._codec)

        def call(client: ClientInfo, command: str | None, message: bytes | None) -> Any:
            value = cast_input(command, message_cast, message)
            return func(client, cast_command(command, command_cast), value)

        return call

    def context(self, name: str, *args: Any) -> Context:
        """What middleware sees of a handler that is called with ``args``, the client first."""
        return Context(name, args[0], _message_in(args[1:]))


class ClientBinding:
    """Handlers of a client: they are called with the message.

    :param reconnects: whether the events of losing a connection and coming back are reserved.
    """

    def __init__(self, codec: Codec, reconnects: bool) -> None:
        self.events = {**CLIENT_EVENTS, **RECONNECT_EVENTS} if reconnects else CLIENT_EVENTS
        self._codec = codec

    def command(self, func: Callable[..., Any], signature: Signature, name: str) -> Callables:
        """Bind ``func(message)`` or ``func()``."""
        count = argument_count(signature, name, (0, 1), False, " (message, not the client)")
        cast = cast_of(signature, 0, count, self._codec)
        if count == 0:
            return Callables(lambda message: func(), func)

        def empty() -> Any:
            return func(cast_input(name, cast, None))

        if signature.has_default(0):
            empty = func
        if cast.decode is None:
            return Callables(func, empty)
        return Callables(handler_of_one(func, cast.decode, partial(recover, name, cast)), empty)

    def event(
        self, func: Callable[..., Any], signature: Signature, name: str
    ) -> Callable[..., Any]:
        """Bind ``func(...)``; ``*`` casts what it is called with."""
        count = argument_count(signature, name, self.events[name], exact=True)
        if name != "*":
            return with_dict(func) if signature.wants_dict(0) else func
        command_cast = cast_of(signature, 0, count, self._codec)
        message_cast = cast_of(signature, 1, count, self._codec)

        def call(command: str | None, message: bytes | None) -> Any:
            value = cast_input(command, message_cast, message)
            return func(cast_command(command, command_cast), value)

        return call

    def context(self, name: str, *args: Any) -> Context:
        """What middleware sees of a handler that is called with ``args``."""
        return Context(name, None, _message_in(args))


def _message_in(args: tuple[Any, ...]) -> bytes | None:
    last = args[-1] if args else None
    return last if isinstance(last, bytes) else None


def with_dict(func: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the client, the first argument, over as a dict."""

    def call(client: ClientInfo, *rest: Any) -> Any:
        return func(client.as_dict(), *rest)

    return call


def cast_input(command: str | None, cast: Cast, message: bytes | None) -> Any:
    """A message as the type that its handler asks for.

    :raises InvalidTypeCast: it does not fit.
    """
    try:
        return cast(message)
    except Exception as exc:
        raise misfit(command, cast, exc, "input") from None


def cast_message(command: str | None, cast: Cast, message: bytes | None) -> Any:
    """A message as the type it is asked for as.

    :raises InvalidTypeCast: it does not fit.
    """
    try:
        return cast(message)
    except Exception as exc:
        raise misfit(command, cast, exc) from None


def cast_reply(command: str, cast: Cast, message: bytes | None) -> Any:
    """The reply to a call, or a part of it, as the type it is asked for as.

    :raises InvalidTypeCast: it does not fit.
    """
    try:
        return cast(message)
    except Exception as exc:
        raise misfit(command, cast, exc, "reply") from None


def cast_command(command: str | None, cast: Cast) -> Any:
    """A command as the type that a handler of ``message`` or ``*`` asks for it as."""
    if command is None:
        return cast.empty()
    return command if cast.type in (None, str) else cast(command.encode())


def recover(command: str, cast: Cast, message: bytes, exc: Exception) -> Any:
    """The value of a message that ``cast.decode`` refused with ``exc``.

    :raises InvalidTypeCast: there is none.
    """
    try:
        return cast.recover(message, exc)
    except Exception as reason:
        raise misfit(command, cast, reason, "input") from None


def misfit(
    command: str | None, cast: Cast, exc: Exception, source: str | None = None
) -> InvalidTypeCast:
    """The error for a message that does not fit; it says all that its cause says."""
    error = InvalidTypeCast(command, cast.type, str(exc))
    error._source = source
    return error


def cast_of(signature: Signature, index: int, count: int, codec: Codec) -> Cast:
    """The cast of the message argument; the one that leaves bytes alone if there is no such."""
    annotation = signature.annotation(index) if index < count else None
    if annotation is int:
        return Cast(int, truncating(_warn_of_truncation(signature.name)), int)
    try:
        return codec.cast_for(annotation)
    except TypeError as exc:
        raise TypeError(f"handler {signature.name}: {exc}") from exc


def _warn_of_truncation(handler: str) -> Callable[[bytes, int], None]:
    def warn(message: bytes, value: int) -> None:
        logger.warning(
            "handler %s: the message %.40r became %d, since its argument is annotated int; "
            "annotate it int | float to keep the fraction (logged once a handler)",
            handler,
            message,
            value,
            extra=fields("number_truncated", reason=handler),
        )

    return warn
