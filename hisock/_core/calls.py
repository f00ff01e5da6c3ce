"""Calls: commands that are answered, and the matching of replies to calls.

A call has a number that its sender chose, and the reply carries the same. This module has no
threads and no clock: the driver's :class:`CallWaiter` does the waiting.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Protocol

from hisock._core import call_frames
from hisock._core.binding import cast_message
from hisock._core.client_info import ClientInfo
from hisock._core.codec import Codec
from hisock._core.events import EventTable
from hisock._core.jobs import ENDS_PROGRAM
from hisock._core.parts import Parts
from hisock._core.raising import fresh
from hisock._core.reporting import error_text
from hisock.exceptions import ProtocolError, RemoteError

#: Cancelled calls that are remembered because they have not run yet.
MOST_CANCELLED = 1024
#: Bytes of an error's text that are sent to the caller at most.
MOST_ERROR_BYTES = 64 * 1024


class CallWaiter(Protocol):
    """Waits for the reply to one call."""

    def deliver(self, value: bytes | None, /) -> bool:
        """Deliver the reply; ``False`` if the waiter has stopped waiting."""

    def fail(self, exc: BaseException, /) -> None:
        """Deliver an error: no reply will come, or the handler failed."""


class CallTable:
    """The calls of one connection that wait for their replies. From any thread.

    :param codec: decodes the data of errors.
    """

    __slots__ = ("_codec", "_ended", "_numbers", "_waiting")

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
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

    def take(self, number: int) -> CallWaiter | None:
        """Stop waiting for a reply; returns the waiter, if there is one."""
        return self._waiting.pop(number, None)

    def take_message(self, number: int, message: bytes | None) -> bool:
        """Deliver what a handler has returned; ``False`` if nobody waits for it (any more)."""
        waiter = self.take(number)
        if waiter is None:
            return False
        waiter.deliver(message)
        return True

    def take_reply(self, reply: call_frames.Reply) -> bool:
        """Deliver a reply to its waiter; ``False`` if there is none (any more)."""
        if reply.error is None:
            return self.take_message(reply.number, reply.message)
        waiter = self.take(reply.number)
        if waiter is None:
            return False
        waiter.fail(self._error(reply))
        return True

    def _error(self, reply: call_frames.Reply) -> RemoteError:
        data, codec = reply.data, self._codec
        value = codec.decode_anything(data) if data else None
        error = RemoteError(reply.error or "", reply.code, value)
        error._received = True
        if data is not None:
            error._cast = lambda kind: cast_message(None, codec.cast_for(kind), data)
        return error

    def take_part(self, number: int, message: bytes | None) -> bool:
        """Hand over a part of a reply; ``False`` when nothing waits for it (any more)."""
        parts = self._waiting.get(number)
        if not isinstance(parts, Parts):
            return False
        parts.take(message)
        return True

    def fail_all(self, exc: BaseException) -> None:
        """The connection has ended: fail all waiters, and those that are added later."""
        self._ended = exc
        while self._waiting:
            try:
                _, waiter = self._waiting.popitem()
            except KeyError:  # another thread was faster
                break
            waiter.fail(fresh(exc))

    def reopen(self) -> None:
        """There is a connection again."""
        self._ended = None


class RunningCalls:
    """The calls of a peer that are being handled, by number. From any thread.

    :ivar running: the functions that cancel their handlers; ``None`` for one that cannot be.
    :ivar cancelled: calls that were cancelled before they ran, or after they had ended.
    """

    __slots__ = ("_streams", "cancelled", "running")

    def __init__(self) -> None:
        self.running: dict[int, Callable[[], Any] | None] = {}
        self.cancelled: dict[int, None] = {}
        #: What is told that more parts of a reply may be sent.
        self._streams: dict[int, Callable[[], Any]] = {}

    def begin(self, number: int, streams: bool = False) -> bool:
        """Start handling a call; ``False`` if it was cancelled already.

        :param streams: its reply comes in parts.
        :raises ProtocolError: its number is that of another call, and one of them streams: the
            first could not be cancelled any more, nor be told that parts were taken.
        """
        if number in self._streams or (streams and number in self.running):
            raise ProtocolError(f"a call has the number {number}, which is that of a stream")
        if number in self.cancelled:
            del self.cancelled[number]
            return False
        self.running[number] = None
        if streams:
            self._streams[number] = _nothing
        return True

    def knows(self, number: bytes) -> bool:
        """Whether a call with that number is running, or was cancelled."""
        if not self.running and not self.cancelled:
            return False
        return int(number) in self.running or int(number) in self.cancelled

    def runs(self, number: int, cancel: Callable[[], Any]) -> None:
        """Note how the running handler of a call can be cancelled."""
        self.running[number] = cancel

    def end(self, number: int) -> bool:
        """The handler of a call has ended; returns whether the caller still waits."""
        self._streams.pop(number, None)
        try:
            del self.running[number]
        except KeyError:
            return False
        return True

    def streams(self, number: int, more: Callable[[], Any]) -> None:
        """Its reply comes in parts."""
        self._streams[number] = more

    def more(self, number: int) -> None:
        """The caller takes more parts."""
        more = self._streams.get(number)
        if more is not None:
            more()

    def cancel_streams(self) -> None:
        """Nobody takes any parts: the connection has ended."""
        for number in list(self._streams):
            self.cancel(number)

    def cancel(self, number: int) -> None:
        """The caller has stopped waiting: cancel the handler, if it can be cancelled."""
        if number not in self.running:
            self.cancelled[number] = None
            if len(self.cancelled) > MOST_CANCELLED:
                del self.cancelled[next(iter(self.cancelled))]
            return
        cancel = self.running.pop(number)
        self._streams.pop(number, None)
        if cancel is not None:
            cancel()


def _nothing() -> None:
    """No parts are sent yet."""


def build_answer(
    call: call_frames.Call,
    result: Any,
    exc: BaseException | None,
    events: EventTable,
    client: ClientInfo | None,
    header_len: int,
    knows_errors: bool = False,
) -> bytes:
    """Build the reply to a call: the handler's result, or the text of its exception.

    It never fails: a result that cannot be encoded is reported, and becomes the caller's error.

    :param knows_errors: whether the caller understands errors with code and data.
    """
    if exc is None:
        try:
            reply = call_frames.Reply(call.number, events.codec.encode_exactly(result))
            return call_frames.build_reply(reply, header_len)
        except Exception as unsendable:
            exc = unsendable
            events.runner.report(exc, call.command, client)
    if knows_errors and isinstance(exc, RemoteError):
        try:
            data = None if exc.data is None else (events.codec.encode_exactly(exc.data) or b"")
            return call_frames.build_reply(
                call_frames.Reply(call.number, None, error_text(exc), exc.code, data), header_len
            )
        except Exception as unsendable:
            events.runner.report(unsendable, call.command, client)
    if isinstance(exc, ENDS_PROGRAM):
        text = f"the handler of {call.command!r} ended its program"
    else:
        text = error_text(exc)
    room = min(MOST_ERROR_BYTES, 10**header_len - 1 - call_frames.REPLY_OVERHEAD)
    cut = text.encode("utf-8", "backslashreplace")[:room].decode("utf-8", "ignore")
    return call_frames.build_reply(call_frames.Reply(call.number, None, cut), header_len)
