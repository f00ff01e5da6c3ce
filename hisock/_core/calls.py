"""Calls: commands that are answered. Matching of replies to those who wait for them.

A call has a number that its sender chose; the reply carries the same. No threads and no clock
here: whoever waits is a :class:`CallWaiter` of the driver.
"""

from __future__ import annotations

import itertools
from typing import Any, Protocol

from hisock._core import protocol
from hisock._core.client_info import ClientInfo
from hisock._core.events import EventTable
from hisock._core.jobs import ENDS_PROGRAM
from hisock._core.reporting import error_text
from hisock.exceptions import RemoteError

#: Bytes of an error's text that a caller is told.
MOST_ERROR_BYTES = 64 * 1024


class CallWaiter(Protocol):
    """Somebody who waits for the reply to one call."""

    def deliver(self, value: bytes | None, /) -> bool:
        """The reply came; ``False`` when it gave up meanwhile."""

    def fail(self, exc: BaseException, /) -> None:
        """No reply will come, or it says that the handler failed."""


class CallTable:
    """The calls on one connection that wait for their replies. From any thread."""

    __slots__ = ("_ended", "_numbers", "_waiting")

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, CallWaiter] = {}
        self._ended: BaseException | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiter: CallWaiter) -> int:
        """Wait for the reply to a call that is about to be sent; returns its number."""
        number = next(self._numbers)
        self._waiting[number] = waiter
        if self._ended is not None:
            self.fail_all(self._ended)
        return number

    def forget(self, number: int) -> None:
        """Stop waiting; a reply that comes later is ignored."""
        self._waiting.pop(number, None)

    def take_reply(self, reply: protocol.Reply) -> bool:
        """Hand a reply to who waits for it; ``False`` when nobody does (any more)."""
        waiter = self._waiting.pop(reply.number, None)
        if waiter is None:
            return False
        if reply.error is None:
            waiter.deliver(reply.message)
        else:
            waiter.fail(RemoteError(reply.error))
        return True

    def fail_all(self, exc: BaseException) -> None:
        """The connection has ended: tell everybody who waits, now or later."""
        self._ended = exc
        while self._waiting:
            try:
                _, waiter = self._waiting.popitem()
            except KeyError:  # another thread was faster
                break
            waiter.fail(exc)

    def reopen(self) -> None:
        """There is a connection again."""
        self._ended = None


def build_answer(
    call: protocol.Call,
    result: Any,
    exc: BaseException | None,
    events: EventTable,
    client: ClientInfo | None,
    header_len: int,
) -> bytes:
    """The frame that answers a call: what the handler returned, or the text of what it raised.

    It never fails: a result that cannot be sent is reported, and the caller is told so.
    """
    if exc is None:
        try:
            reply = protocol.Reply(call.number, events.codec.encode_exactly(result))
            return protocol.build_reply(reply, header_len)
        except Exception as unsendable:
            exc = unsendable
            events.runner.report(exc, call.command, client)
    if isinstance(exc, ENDS_PROGRAM):
        text = f"the handler of {call.command!r} ended its program"
    else:
        text = error_text(exc)
    room = min(MOST_ERROR_BYTES, 10**header_len - 1 - protocol.REPLY_OVERHEAD)
    cut = text.encode("utf-8", "backslashreplace")[:room].decode("utf-8", "ignore")
    return protocol.build_reply(protocol.Reply(call.number, None, cut), header_len)
