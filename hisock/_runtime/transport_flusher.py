"""Writing what waits in an outbox to a transport of asyncio, or past it to its socket."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from hisock._runtime.ended import ENDED
from hisock._runtime.loops import write_chunks
from hisock.framing import Flusher

#: Transports that only write to a socket what they are given, and wait where it takes no more.
_PLAIN = {
    ("asyncio.selector_events", "_SelectorSocketTransport"),
    ("uvloop.loop", "TCPTransport"),
    ("uvloop.loop", "UnixTransport"),
}


class TransportFlusher(Flusher):
    """Writes an outbox to a transport, on the thread of the loop.

    Whatever else is written to that transport goes through it as well, or its order is lost.
    """

    __slots__ = ()

    _transport: asyncio.Transport

    def attach(self, transport: asyncio.Transport, sock: Any = None) -> None:
        """Write to a transport from now on.

        :param sock: the one under it, if the caller has it: uvloop makes another to answer with.
        """
        self._transport = transport
        self.descriptor = _plain_descriptor(transport, sock)
        if self.descriptor >= 0 and type(transport).__module__ == "uvloop.loop":
            # Closing the loop closes its sockets, and no protocol hears of that.
            self.loop_closed = asyncio.get_running_loop().is_closed
        self.behind = True  # somebody else may have written to it

    def lose(self) -> None:
        """Leave its socket alone: the transport is closing it."""
        self.descriptor = -1
        self.loop_closed = None

    def release(self) -> None:
        """Let go of the transport, which may hold this."""
        self.lose()
        self._transport = ENDED

    def write_all(self, chunks: list[bytes]) -> None:
        """Write chunks; only one that is alone, and short, goes past the transport."""
        if len(chunks) == 1:
            self.write(chunks[0])
        elif chunks:
            self.behind = True
            try:
                write_chunks(self._transport, chunks)
            except BaseException:  # nothing may follow what is lost, or half of a frame
                self._transport.abort()
                raise

    flush_chunks = write_all


def _plain_descriptor(transport: asyncio.Transport, sock: Any) -> int:
    kind = type(transport)
    # On Windows the number of a socket is no descriptor: that may be an open file.
    if sys.platform == "win32" or (kind.__module__, kind.__name__) not in _PLAIN:
        return -1
    return int((transport.get_extra_info("socket") if sock is None else sock).fileno())
