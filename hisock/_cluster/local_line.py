"""One connection between two nodes of a machine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from hisock._cluster.link import MOST_BATCH_BYTES, MOST_WAITING_BYTES
from hisock._core.log_fields import fields
from hisock._core.reporting import LogLimit
from hisock._runtime import peers

logger = logging.getLogger("hisock.server")

#: Seconds that whatever connects may take to say which node it is. A node does it at once; one
#: that a debugger or the system stops just then is not to be taken for a stranger.
GREETING_SECONDS = 30.0
_LENGTH_BYTES = 4


class Refusals:
    """Counts and logs what processes of this machine send that are no nodes.

    :ivar count: how many connections were closed for that.
    """

    def __init__(self) -> None:
        self.count = 0
        self._log_limit = LogLimit()

    def note(self, what: str) -> None:
        """A connection is closed; the number of lines in the log is limited."""
        self.count += 1
        if self._log_limit.permits(time.monotonic()):
            withheld = self._log_limit.reset() if self._log_limit.withheld else 0
            logger.warning(
                "a process of this machine sent %s; its connection is closed (%d more before it)",
                what,
                withheld,
                extra=fields("cluster_refused", reason=what, withheld=withheld),
            )

    def expect_greeting(self, refuse: Callable[[str], None]) -> asyncio.TimerHandle:
        """Refuse a new connection unless the timer is cancelled in time."""
        loop = asyncio.get_running_loop()
        return loop.call_later(GREETING_SECONDS, refuse, "no greeting in time")


class LineOwner(Protocol):
    """What a line belongs to."""

    greeting: bytes
    refusals: Refusals

    @property
    def heard(self) -> Callable[[bytes], None]: ...

    def introduced(self, line: LocalLine, greeting: bytes) -> bool: ...

    def ended(self, line: LocalLine) -> None: ...

    def drained(self, line: LocalLine) -> None: ...


class LocalLine(asyncio.Protocol):
    """A stream of batches both ways, which begins with the node at each end.

    :param incoming: whether the other end has connected, and may be anybody.
    :ivar node: the node at the other end; empty until its first line.
    :ivar closed: done when the connection is closed.
    """

    def __init__(self, owner: LineOwner, incoming: bool = False) -> None:
        self.node = ""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._incoming = incoming
        self._overdue: asyncio.TimerHandle | None = None
        self._owner = owner
        self._received = bytearray()
        self._transport: asyncio.Transport
        #: The bytes and messages of batches that may not have left yet, and the bytes of all.
        self._unsent: deque[tuple[int, int]] = deque()
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # that of uvloop is none by its class
        if not peers.is_same_user(transport):
            text = "a process of another user tried to join the cluster"
            logger.warning(text, extra=fields("cluster_refused"))
            self._owner.refusals.count += 1
            transport.close()
            return
        low = MOST_WAITING_BYTES // 4
        if self._incoming:
            self._overdue = self._owner.refusals.expect_greeting(self._refuse)
        self._transport.set_write_buffer_limits(high=low + 1, low=low)
        self.send(self._owner.greeting)

    def data_received(self, data: bytes) -> None:
        if self._unsent:
            self._note_left()
        received: bytes | bytearray = data
        if self._received:
            self._received += data
            received = self._received
        start = 0
        while len(received) - start >= _LENGTH_BYTES and not self._transport.is_closing():
            length = int.from_bytes(received[start : start + _LENGTH_BYTES], "big")
            if length > MOST_BATCH_BYTES:
                self._refuse(f"a batch of {length} bytes, where {MOST_BATCH_BYTES} are allowed")
                return
            end = start + _LENGTH_BYTES + length
            if end > len(received):
                break
            self._take(bytes(received[start + _LENGTH_BYTES : end]))
            start = end
        if received is data:
            if start < len(data):
                self._received += data[start:]
        else:
            del self._received[:start]

    def _take(self, batch: bytes) -> None:
        if self.node:
            self._owner.heard(batch)
            return
        try:
            welcome = self._owner.introduced(self, batch)
        except msgspec.DecodeError:
            self._refuse("a greeting that is none")
            return
        self._expect_no_more()
        if not welcome:
            self._transport.close()

    def _expect_no_more(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()

    def _refuse(self, what: str) -> None:
        self._expect_no_more()
        self._owner.refusals.note(what)
        self._received.clear()
        self._transport.abort()

    def send(self, batch: bytes, messages: int = 0) -> None:
        """Write a batch.

        :param messages: how many :meth:`unsent` counts for it.
        """
        size = _LENGTH_BYTES + len(batch)
        self._transport.write(len(batch).to_bytes(_LENGTH_BYTES, "big") + batch)
        if messages:
            self._unsent.append((size, messages))
            self._unsent_bytes += size
        if self._unsent:
            self._note_left()

    def _note_left(self) -> None:
        """Forget the batches that the kernel has taken: it has all but the last bytes."""
        left, unsent = self.backlog(), self._unsent
        while unsent and self._unsent_bytes - unsent[0][0] >= left:
            self._unsent_bytes -= unsent.popleft()[0]

    def unsent(self) -> int:
        """Messages that the kernel is not known to have taken; of a lost connection, the rest."""
        return sum(messages for _, messages in self._unsent)

    def backlog(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self._owner.drained(self)

    def close(self) -> None:
        """Close it when everything is written."""
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        self._expect_no_more()
        self._owner.ended(self)
