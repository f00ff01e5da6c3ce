"""What the public classes of clients have in common: they hold a driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hisock._client.base import ClientBase
from hisock._client.dissolving import dissolve
from hisock._client.options import require_token
from hisock._core.events import EventTable
from hisock._core.inspection import Inspection
from hisock._core.middleware import Middleware
from hisock._core.protocol import as_name
from hisock._core.routes import Part
from hisock._runtime.sockets import address_text

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=Middleware)


class ClientFace(Inspection):
    """The part of a client's API that needs no waiting."""

    _driver: ClientBase

    def __del__(self) -> None:
        driver = self.__dict__.get("_driver")  # there is none where connecting has failed
        if driver is not None:
            dissolve(driver)

    def on(
        self,
        command: str,
        threaded: bool = False,
        override: bool = False,
        concurrent: bool = False,
        replace: bool = False,
    ) -> Callable[[F], F]:
        """Register a handler: ``@client.on("command")``.

        Handlers of commands take ``(message)`` or nothing; the annotation of the message says what
        it is cast to. What a handler returns is the reply, if the command came as a call. The
        reserved events are ``client_connect(info)``, ``client_disconnect(info)``,
        ``force_disconnect()`` and ``*(command, message)`` for other commands; with
        ``reconnect`` also ``disconnect(reason)`` and ``reconnect()``.

        :param command: what it handles.
        :param threaded: run it in a thread of its own, where it may block.
        :param override: take a reserved name as an ordinary command; the event no longer fires.
        :param concurrent: for ``async def``: handle what comes next without waiting for its end.
        :param replace: take the place of a handler that is registered already; without it, a
            second one does so with a warning.
        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises TypeError: the handler's arguments do not fit the event.
        """
        return self._driver.events.on(command, threaded, override, concurrent, replace)

    def include(self, part: Part, prefix: str = "") -> None:
        """Register the handlers of a :class:`hisock.routing.Router`, or of a handler class.

        See :meth:`hisock.HiSockServer.include`.

        :param part: the router, or the object.
        :param prefix: what its commands begin with here, before its own prefix.
        :raises TypeError: it is neither, one of its handlers does not fit, or it has ticks.
        :raises ValueError: it is included already, and under no other prefix.
        """
        ticks = self._driver.events.handlers.include(part, prefix)
        if ticks:
            raise TypeError(f"only servers have ticks, {ticks[0].func!r} is one")

    def middleware(self, func: M) -> M:
        """Run a function around every handler; see :meth:`hisock.HiSockServer.middleware`.

        :raises TypeError: it is no middleware, or async and the client has no event loop.
        """
        self._driver.events.handlers.use(func)
        return func

    def _event_table(self) -> EventTable:
        return self._driver.events

    @property
    def unhandled(self) -> dict[str, int]:
        """How many commands were not taken within a second, by name.

        From the hundredth name on they are counted together, as ``(others)``.
        """
        self._driver.events.note_unhandled()
        return dict(self._driver.events.unhandled.counts)

    # -- the client's identity

    @property
    def name(self) -> str | None:
        """The name that the client goes by."""
        return self._driver.name

    @property
    def group(self) -> str | None:
        """The group that the client is in."""
        return self._driver.group

    @property
    def original_name(self) -> str | None:
        """The name that the client connected with."""
        return self._driver.options.name

    @property
    def original_group(self) -> str | None:
        """The group that the client connected with."""
        return self._driver.options.group

    @property
    def token(self) -> str | None:
        """The token for the server's ``authenticate``.

        With ``reconnect``, a new one counts from the next connection on: a server may hand out
        tokens to come back with, and those that expire can be renewed in the handler of
        ``disconnect``.
        """
        return self._driver.token

    @token.setter
    def token(self, token: str | None) -> None:
        require_token(token)
        self._driver.token = token

    def change_name(self, new_name: str | None) -> None:
        """Go by another name.

        Servers do not tell a client that they refused it. After a lost connection the client says
        hello with the new name, and, if that is refused, with the one that it was let in by.

        :param new_name: ``None`` or empty for the one that the client connected with.
        :raises ValueError: it is longer than 1024 characters.
        :raises ConnectionLost: there is no connection.
        """
        self._driver.change_name(as_name(new_name))

    def change_group(self, new_group: str | None) -> None:
        """Move to another group; see :meth:`change_name`.

        :param new_group: ``None`` or empty for the one that the client connected with.
        :raises ValueError: it is longer than 1024 characters.
        :raises ConnectionLost: there is no connection.
        """
        self._driver.change_group(as_name(new_group))

    # -- the connection

    @property
    def addr(self) -> Any:
        """The address of the server."""
        return self._driver.connector.addr

    @property
    def header_len(self) -> int:
        """Digits of a frame's length."""
        return self._driver.options.header_len

    def get_server_addr(self) -> Any:
        """The address of the server."""
        return self.addr

    @property
    def closed(self) -> bool:
        """Whether the client is closed, by whichever side."""
        return self._driver.closed

    @property
    def connected(self) -> bool:
        """Whether there is a connection; a client that reconnects has none for a while."""
        return self._driver.connected

    def __repr__(self) -> str:
        state = "closed, was connected" if self.closed else "connected"
        return f"<{type(self).__name__} {state} to {address_text(self.addr)}>"
