"""Messages that want to be confirmed: each is handled once, and then its client is told so."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hisock._core.acks import Progress, Remembered, Sent, build_acknowledgement
from hisock._core.jobs import Done, Dropped
from hisock.exceptions import ProtocolError

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

#: Clients of which the last number is remembered, and seconds for which it is without a message.
MOST_CLIENTS: Final = 10_000
REMEMBER_SECONDS: Final = 3600.0


class Receipts:
    """What has been handled of which client, and the confirmations that are due.

    Everything here runs on the loop's thread.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._remembered = Remembered(MOST_CLIENTS, REMEMBER_SECONDS)
        #: What is to be confirmed at the end of this iteration of the loop, and by which way.
        self._due: dict[Progress, Connection] = {}
        #: The connection that each client with unfinished messages came by last.
        self._ways: dict[Progress, Connection] = {}

    def take(self, connection: Connection, sent: Sent) -> None:
        """A message has come that wants to be confirmed.

        :raises ProtocolError: its client has no secret, or left out a number.
        """
        hub = self._hub
        if connection.resume is None:
            raise ProtocolError("a client whose messages are confirmed needs a secret")
        if hub.shutdown.begun and not self._is_awaited(connection, sent.command):
            return  # it is sent again to the server that follows
        progress = self._remembered.of(connection.resume, hub.loop.time())
        if not progress.begin(sent.number):
            self._confirm_soon(progress, connection)
            if progress in self._ways:
                self._ways[progress] = connection
            return
        self._ways[progress] = connection
        done = partial(self._done, progress, sent.number)
        observes = partial(self._observes, progress, sent.number)
        hub.events.deliver(connection, sent.command, sent.message, done, observes)

    def unfinished(self, secret: str) -> Connection | None:
        """The connection that a client's messages came by of which handlers still run."""
        progress = self._remembered.find(secret)
        return None if progress is None else self._ways.get(progress)

    def _is_awaited(self, connection: Connection, command: str) -> bool:
        events = self._hub.events
        return not events.handles(command) and events.waiting.wants(command, connection.info.ip)

    def _done(self, progress: Progress, number: int, _: Any, exc: BaseException | None) -> None:
        hub = self._hub
        if isinstance(exc, asyncio.CancelledError) and hub.shutdown.begun:
            return  # it was broken off: the server that follows handles it again
        if isinstance(exc, Dropped):
            self._drop(progress, number)
        elif hub.thread.is_current():
            self._end(progress, number)
        else:
            hub.thread.post(self._end, progress, number)

    def _observes(self, progress: Progress, number: int) -> Done | None:
        if not progress.observe(number):
            return None  # its handler was dropped when it came before, its observers were not

        def observed(_: Any, exc: BaseException | None) -> None:
            if isinstance(exc, Dropped):
                progress.miss(number)

        return observed

    def _drop(self, progress: Progress, number: int) -> None:
        progress.drop(number)
        way = self._ways.get(progress)
        if way is not None and not way.ended:
            # It has come again by this connection already, and was taken for one that is handled.
            reason = "a message of its connection before was dropped, which is to come again"
            self._hub.loop.call_soon(partial(self._hub.leave, way, "memory", reason, at_once=True))
        if progress.idle:
            self._ways.pop(progress, None)

    def _end(self, progress: Progress, number: int) -> None:
        progress.end(number)
        connection = self._ways.get(progress)
        if connection is not None:
            self._confirm_soon(progress, connection)
        if progress.idle:
            self._ways.pop(progress, None)

    def _confirm_soon(self, progress: Progress, connection: Connection) -> None:
        if not self._due:
            self._hub.loop.call_soon(self.flush)
        self._due[progress] = connection

    def flush(self) -> None:
        """Send the confirmations that are due."""
        due, self._due = self._due, {}
        for progress, connection in due.items():
            if not connection.ended:
                frame = build_acknowledgement(progress.done, self._hub.header_len)
                connection.writer.write_control(frame)
