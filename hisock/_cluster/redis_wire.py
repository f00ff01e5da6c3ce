"""A connection to Redis whose answers are taken as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from hisock._cluster.link import MOST_BATCH_BYTES

#: Bytes of an answer at most: those of a batch in a channel, and what goes with it.
_MOST_ANSWER = MOST_BATCH_BYTES + 1024
#: Seconds within which the rest of an answer comes.
_REST_SECONDS = 5.0
#: What transports raise just before they tell that the connection is lost: those of uvloop, and
#: those of asyncio in Python 3.10, over TLS.
_JUST_LOST = RuntimeError, AttributeError


class RedisWire(asyncio.Protocol):
    """Takes over a connection that redis-py has made, with TLS and passwords and whatever else.

    redis-py reads by a stream, from which a task takes each answer in five coroutines: that is
    more than all else that a batch takes. The transport is not documented; the versions of redis-py
    that the extra allows are known to have it, and the tests of the link hold that.

    :param connection: a connection of redis-py that is made, all of whose answers have been read.
    :param hiredis: its module, which parses the answers.
    :param take: called with each answer.
    :ivar lost: fails when the connection is lost, or an error is answered.
    """

    def __init__(self, connection: Any, hiredis: Any, take: Callable[[Any], None]) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = hiredis.Reader()
        self._refusal = hiredis.ReplyError
        self._nonsense = hiredis.ProtocolError
        self._take = take
        self._transport: asyncio.Transport = connection._writer.transport
        #: That of redis-py, which waits for the end of the connection.
        self._before = cast(asyncio.Protocol, self._transport.get_protocol())
        self._asked: asyncio.Future[None] | None = None
        self._expected = 0
        #: Bytes of reads since the last one that completed an answer.
        self._partial = 0
        #: Whether an answer came since :meth:`await_rest`, and the seconds that passed without.
        self._took, self._waited = False, 0.0
        self._transport.set_protocol(self)

    async def ask(self, command: bytes, answers: int) -> None:
        """Send a command, and wait until so many answers have come; they are taken as any others.

        :raises OSError: the connection was lost, or Redis refuses it.
        """
        self._asked, self._expected = asyncio.get_running_loop().create_future(), answers
        self.write(command)
        await asyncio.wait({self._asked, self.lost}, return_when=asyncio.FIRST_COMPLETED)
        if self.lost.done():
            self.lost.result()

    def write(self, command: bytes) -> None:
        """Send a command; nothing happens when the connection is closed."""
        try:
            if not self._transport.is_closing():
                self._transport.write(command)
        except _JUST_LOST:
            pass

    def backlog(self) -> int:
        """Bytes that the kernel has not taken yet."""
        try:
            return self._transport.get_write_buffer_size()
        except _JUST_LOST:
            return 0

    def await_rest(self, seconds: float) -> None:
        """Give up a connection with half of an answer, if the rest of it does not come in time.

        :param seconds: since the last call, without what the loop was late by: the rest may have
            come then, and not been read.
        """
        if self._took or not (self._partial or self._reader.has_data()):
            self._took, self._waited = False, 0.0
            return
        self._waited += seconds
        if self._waited > _REST_SECONDS:
            self._fail(ConnectionError("the rest of an answer did not come"))

    def end(self) -> None:
        """Close it at once: what is not written yet is dropped."""
        self._transport.abort()
        if not self.lost.cancel() and not self.lost.cancelled():
            self.lost.exception()  # else the loop logs that nobody has asked for it

    # -- the transport's side

    def data_received(self, data: bytes) -> None:
        reader, take = self._reader, self._take
        took = False
        try:
            reader.feed(data)
            while (answer := reader.gets()) is not False:
                if isinstance(answer, self._refusal):
                    self._fail(ConnectionError(str(answer)))
                    return
                took = True
                take(answer)
                if self._expected:
                    self._expect_less()
        except self._nonsense as exc:
            self._fail(ConnectionError(str(exc)))
        if took:
            self._took, self._partial = True, 0
        else:
            self._count(len(data))

    def _count(self, size: int) -> None:
        """Count what came of an answer that is not complete: it may claim to be of any length."""
        self._partial += size
        if self._partial > _MOST_ANSWER:
            self._fail(ConnectionError(f"an answer is longer than {_MOST_ANSWER} bytes"))

    def _expect_less(self) -> None:
        self._expected -= 1
        if not self._expected and self._asked is not None and not self._asked.done():
            self._asked.set_result(None)

    def _fail(self, exc: OSError) -> None:
        if not self.lost.done():
            self.lost.set_exception(exc)
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not isinstance(exc, OSError):
            # An answer that could not be taken. redis-py would raise it anew when it disconnects.
            exc = ConnectionError(f"an answer was not understood: {exc}")
        if not self.lost.done():
            self.lost.set_exception(exc or ConnectionError("Redis has closed it"))
        self._before.connection_lost(exc)
