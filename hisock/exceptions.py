"""Every error that hisock raises, in one tree.

Catch :class:`HiSockError` for all of them. Where a built-in exception says the same thing, the
class here is that built-in as well (a :class:`ConnectionLost` is a :class:`ConnectionError`), so
that code which does not know hisock still catches it. The names that a 2.0.2 program imports are
kept; ``hisock.utils`` re-exports them.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

__all__ = [
    "ClientDisconnected",
    "ClientException",
    "ClientNotFound",
    "ConnectionLost",
    "ConnectionRejected",
    "FramingError",
    "FunctionNotFoundException",
    "FunctionNotFoundWarning",
    "GroupNotFound",
    "HiSockError",
    "InvalidTypeCast",
    "NoHeaderWarning",
    "NoMessageException",
    "NotLocal",
    "NotSupported",
    "ProtocolError",
    "Reject",
    "RemoteError",
    "ServerException",
    "ServerNotRunning",
]


class HiSockError(Exception):
    """Base of every error of hisock."""


class FramingError(HiSockError, ValueError):
    """Bytes that are not a frame.

    :ivar reason: what was wrong and what was expected.
    :ivar position: offset in the stream, in bytes, of the first byte that is wrong.
    """

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason, position)
        self.reason = reason
        self.position = position

    def __str__(self) -> str:
        return f"{self.reason} (at byte {self.position} of the stream)"


class ProtocolError(HiSockError):
    """A frame that is well-formed but makes no sense at that point of the conversation."""


class ClientException(HiSockError):
    """Something is wrong with a client, or was asked of one that cannot do it."""


class ServerException(HiSockError):
    """Something is wrong on the server's side."""


class ServerNotRunning(ServerException, ConnectionError):
    """Nobody listens at the address, or the server has stopped running."""


class ConnectionRejected(ServerException, ConnectionError):
    """The server did not let the client in; the message is the server's reason."""


class ConnectionLost(ServerNotRunning):
    """The connection was lost while a call, a wait or a send needed it."""


class NotSupported(HiSockError):
    """The peer does not know what it would be asked for; nothing was sent."""


class NotLocal(NotSupported):
    """The client is on another server of the cluster, and what was asked for is local to that."""


class RemoteError(HiSockError):
    """The peer's handler of a call raised an exception; its message is this one's.

    A handler raises one itself to give its caller more than a text:
    ``raise RemoteError("sold out", code="sold_out", data=Offer(...))``.

    That is an answer, not a fault of the handler: it is not logged as an error, not counted, and
    no ``error_handler`` is called.

    :param code: what the program calls this kind of error, a text or a number.
    :param data: more about it: anything that can be sent.
    :ivar code: as given by the handler; ``None`` for other exceptions, and from older peers.
    :ivar data: as it looks: a structure, a number, a text, or bytes; see :meth:`data_as`.
    """

    #: Whether a peer has sent it. One that a handler gets from a call and lets pass is a fault.
    _received = False

    def __init__(
        self, message: str = "", code: str | int | None = None, data: object = None
    ) -> None:
        super().__init__(message)
        if not (code is None or isinstance(code, (str, int))):
            raise TypeError(f"the code of an error is a text or a number, not {code!r}")
        self.code = code
        self.data: Any = data
        self._cast: Callable[[Any], Any] | None = None

    def data_as(self, kind: Any) -> Any:
        """The data as a type, as a handler's annotation casts a message.

        :raises InvalidTypeCast: it does not fit.
        """
        return self.data if self._cast is None else self._cast(kind)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteError, (str(self), self.code, self.data)


class ClientDisconnected(ClientException, ConnectionError):
    """The client is closed; it can neither send nor receive."""


class ClientNotFound(ClientException, LookupError):
    """No client of that name or address is connected."""


class GroupNotFound(ServerException, LookupError):
    """No connected client is in that group."""


class InvalidTypeCast(HiSockError, TypeError, ValueError):
    """A message that does not fit the type it is asked for as, or content that cannot be sent.

    ``InvalidTypeCast("text")`` has only a text.

    :ivar command: the command it came with, ``None`` for a frame without a command.
    :ivar type: the type asked for.
    :ivar reason: why it does not fit; names the path of the wrong value in a structure.
    """

    #: Where the message came from: ``"input"`` of a handler, ``"reply"`` to a call, or elsewhere.
    _source: str | None = None

    def __init__(
        self, command: str | None = None, wanted: object = None, reason: str | None = None
    ) -> None:
        if reason is None:  # as 2.0.2 programs raise it
            super().__init__(*(part for part in (command, wanted) if part is not None))
            self.command, self.type, self.reason = None, None, command or ""
            return
        reason = reason if len(reason) <= 500 else f"{reason[:500]}..."
        super().__init__(command, wanted, reason)
        self.command = command
        self.type = wanted
        self.reason = reason

    def __str__(self) -> str:
        if len(self.args) < 3:
            return Exception.__str__(self)
        wanted = _type_text(self.type)
        if self._source == "reply":
            return f"the reply to {self.command!r} is not {wanted}: {self.reason}"
        what = "a frame without a command" if self.command is None else f"command {self.command!r}"
        return f"the message of {what} is not {wanted}: {self.reason}"


def _type_text(kind: Any) -> str:
    """A type as the program writes it, without the limits of an ``Annotated``."""
    if typing.get_origin(kind) is typing.Annotated:
        return _type_text(typing.get_args(kind)[0])
    if typing.get_args(kind):  # list[int] has the name of list
        return str(kind).replace("typing.", "")
    return getattr(kind, "__name__", None) or str(kind)


class Reject(HiSockError):
    """Raised by a function registered with ``@server.authenticate``: the client is not let in.

    :param reason: told to the client, which gets it as :class:`hisock.ConnectionRejected`.
    """

    def __init__(self, reason: str = "the server does not let this client in") -> None:
        super().__init__(reason)
        self.reason = reason


class FunctionNotFoundException(HiSockError):
    """Kept because 2.0.2 programs import it; nothing raises it."""


class NoMessageException(HiSockError):
    """Kept because 2.0.2 programs import it; nothing raises it."""


class NoHeaderWarning(UserWarning):
    """Kept because 2.0.2 programs import it; nothing warns with it."""


class FunctionNotFoundWarning(UserWarning):
    """Kept because 2.0.2 programs import it; nothing warns with it."""
