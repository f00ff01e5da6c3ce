"""The dispatch of frames on a client."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from types import CoroutineType
from typing import Any

from hisock._core.binding import ClientBinding
from hisock._core.client_info import ClientInfo
from hisock._core.codec import Codec
from hisock._core.events import EventTable
from hisock._core.handlers import CommandHandler
from hisock._core.jobs import ENDS_PROGRAM, Done, Origin, Peer, Runner, never_awaited, report
from hisock._core.log_fields import fields
from hisock._core.waiting import Waiting
from hisock.framing import Frame

logger = logging.getLogger("hisock.client")


class ClientEvents(EventTable):
    """The event table of a client, whose handlers are called with the message.

    :param reconnects: whether the client reconnects after losing its connection.
    """

    def __init__(
        self,
        waiting: Waiting,
        runner: Runner,
        codec: Codec,
        header_len: int,
        cache_size: int,
        reconnects: bool = False,
    ) -> None:
        self._reconnects = reconnects
        binding = ClientBinding(codec, reconnects)
        super().__init__(binding, waiting, runner, codec, header_len, cache_size, logger)

    def _bind_message(
        self, handler: CommandHandler, client: ClientInfo | None, message: bytes | None
    ) -> Callable[[], Any]:
        return partial(handler.full, message) if message else handler.empty

    def _fire_frame(
        self,
        event: str,
        origin: Origin,
        command: str | None,
        message: bytes | None,
        done: Done | None = None,
    ) -> None:
        self._fire(event, origin, (command, message), done)

    def fire(self, event: str, *args: Any) -> None:
        """Call the handler of a reserved event with ``args``."""
        self._fire(event, None, args)

    def note_loss(self) -> None:
        """The connection is lost for good: log it if that was to call a handler and does not."""
        if not self._reconnects and self.handles("disconnect"):
            said = fields("handler_in_vain", command="disconnect")
            logger.warning("the handler of 'disconnect' is called only with reconnect=", extra=said)

    def fire_and_tell(self, event: str, done: Done) -> None:
        """The same without arguments, and tell ``done`` of the end of each handler."""
        self._fire(event, None, (), done)

    def count(self, event: str) -> int:
        """How many handlers a reserved event has."""
        handler, count = self.handlers.reserved.get(event), 0
        while handler is not None:
            handler, count = handler.also, count + 1
        return count

    def dispatch(self, peer: Peer, frames: Iterator[Frame]) -> None:
        """Deliver a batch of frames of the server, in order."""
        get = self.plain_handlers.get
        while True:
            command: str | None = None
            try:
                for command, message in frames:
                    if message and (handler := get(command)) is not None:
                        result = handler(message)
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
                report(self.runner, exc, command, None)
