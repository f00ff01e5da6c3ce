"""The sending part of a server. Everything here may be called from any thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar, get_type_hints

from hisock._core.client_info import ClientInfo, ClientRef, title_of
from hisock._core.codec import Codec, Falsy
from hisock._server.audience import Broadcast, everybody
from hisock._server.audience import clients as those
from hisock._server.connection import Connection
from hisock._server.registry import Registry
from hisock.exceptions import ClientNotFound
from hisock.framing import send_client, send_group, send_room

F = TypeVar("F", bound=Callable[..., Any])


def _done_by(function: Any) -> Callable[[F], F]:
    """Have a compiled function in place of a method, with the types that the method declares.

    They name what the framing does not know, and what it says to type checkers and editors would
    not let a class that inherits declare the same.
    """

    def take(method: F) -> F:
        function.__annotations__ = get_type_hints(method)
        function.__qualname__ = method.__qualname__
        taken: F = function
        return taken

    return take


class Sending:
    """The sending part of a server.

    Every method takes the message as ``content``, by default ``None`` for a command without a
    message; see :mod:`hisock.codec` for what can be sent. Each raises :class:`TypeError` for
    content that cannot be encoded and :class:`ValueError` for a command that is empty or holds a
    ``$...$`` pair; nothing is sent then. Two options are for state that a newer message makes
    worthless:

    - ``volatile=True`` (default ``False``): clients that are behind do not get it.
    - ``latest="key"`` (default ``None``): it replaces an older message with that key that has not
      been written yet. Such messages are written after the others of the same loop iteration.
    """

    header_len: int
    _broadcast: Broadcast
    _registry: Registry[Connection]
    _codec: Codec

    # No look-up for a ClientInfo of this server, else _send_otherwise().
    @_done_by(send_client)
    def send_client(
        self,
        client: ClientRef,
        command: str,
        content: Any = None,
        volatile: bool = False,
        latest: str | None = None,
    ) -> None:
        raise NotImplementedError

    def _send_otherwise(
        self,
        client: ClientRef,
        command: str,
        content: bytes | None,
        volatile: bool,
        latest: str | None,
    ) -> None:
        self._send_to(self._registry.find(client), command, content, volatile, latest)

    def _send_to(
        self,
        peer: Connection,
        command: str,
        content: bytes | None,
        volatile: bool,
        latest: str | None,
    ) -> None:
        outbox = peer.outbox
        if type(content) is Falsy:
            content = content.suiting(peer.features is not None)
        if volatile or latest is not None:
            only = {outbox: peer}
            sent = self._broadcast.write(only, command, content, volatile, latest) > 0
        else:
            sent = outbox.send(command, content)
        if not sent and outbox.closed:
            raise ClientNotFound(f"{title_of(peer.info)} is no longer connected")

    def send_all_clients(
        self,
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        """Send a command to all clients; it is encoded once.

        :returns: how many clients it was sent to.
        """
        message = self._codec.encode(content)
        return self._broadcast.publish(everybody(), command, message, volatile, latest)

    @_done_by(send_group)
    def send_group(
        self,
        group: str | ClientInfo,
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        raise NotImplementedError

    @_done_by(send_room)
    def send_room(
        self,
        room: str,
        command: str,
        content: Any = None,
        *,
        exclude: ClientRef | None = None,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        raise NotImplementedError

    def _in_no_group(self, group: ClientInfo | None) -> NoReturn:
        who = repr(group) if group is None else title_of(group)
        raise TypeError(f"{who} is in no group")

    def send_many(
        self,
        clients: Iterable[ClientRef],
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        """Send a command to some clients, such as those near a player; it is encoded once.

        :param clients: the clients; those that are no longer connected are skipped.
        :returns: how many clients it was sent to.
        """
        message = content if type(content) is bytes else self._codec.encode(content)
        return self._broadcast.publish(those(clients), command, message, volatile, latest)
