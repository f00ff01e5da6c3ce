"""The dispatch of frames on a server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from types import CoroutineType
from typing import Any

from hisock._core.binding import Events, ServerBinding
from hisock._core.client_info import ClientInfo
from hisock._core.codec import Codec
from hisock._core.events import EventTable
from hisock._core.handlers import CommandHandler
from hisock._core.jobs import ENDS_PROGRAM, Done, Origin, Peer, Runner, never_awaited, report
from hisock._core.waiting import Waiting
from hisock.framing import Frame

logger = logging.getLogger("hisock.server")


class ServerEvents(EventTable):
    """The event table of a server, whose handlers are called with the client first."""

    def __init__(
        self, waiting: Waiting, runner: Runner, codec: Codec, header_len: int, cache_size: int
    ) -> None:
        self._binding = ServerBinding(codec)
        super().__init__(self._binding, waiting, runner, codec, header_len, cache_size, logger)

    def _bind_message(
        self, handler: CommandHandler, client: ClientInfo | None, message: bytes | None
    ) -> Callable[[], Any]:
        if message:
            return partial(handler.full, client, message)
        return partial(handler.empty, client)

    def _fire_frame(
        self,
        event: str,
        origin: Origin,
        command: str | None,
        message: bytes | None,
        done: Done | None = None,
    ) -> None:
        self._fire(event, origin, (origin.info, command, message), done)

    def reserve(self, events: Events) -> None:
        """Reserve more events than every server has."""
        self._binding.events = {**self._binding.events, **events}

    def handles_event(self, event: str) -> bool:
        """Whether a reserved event has a handler."""
        return event in self.handlers.reserved

    def fire_event(self, event: str, *args: Any) -> None:
        """Call the handlers of a reserved event that belongs to no connection."""
        self._fire(event, None, args)

    def fire(self, event: str, origin: Origin, *args: Any) -> None:
        """Call the handler of a reserved event with the client of a connection, and ``args``."""
        self._fire(event, origin, (origin.info, *args))

    never_awaited = staticmethod(never_awaited)

    def failed(self, peer: Peer, command: str | None, exc: BaseException) -> None:
        """Report what the handler of a command raised."""
        report(self.runner, exc, command, peer.info)

    def dispatch(self, peer: Peer, frames: Iterator[Frame]) -> None:
        """Deliver a batch of frames from one client, in order."""
        get = self.plain_handlers.get
        while True:
            command: str | None = None
            try:
                for command, message in frames:
                    if message and (handler := get(command)) is not None:
                        result = handler(peer.info, message)
                        if result is not None and type(result) is CoroutineType:
                            raise never_awaited(result, command)
                        continue
                    if command is None:
                        peer.take_raw(message or b"")
                    else:
                        self.handle(peer, command, message)
                    if self.callback is not None:
                        self.call_back(command)
                    if peer.busy:
                        peer.defer(frames)
                        return
                return
            except ENDS_PROGRAM:
                raise
            except BaseException as exc:
                self.failed(peer, command, exc)
