"""Two transports connected in memory: the protocol of each receives what the other one writes.

They behave like asyncio's socket transports, with buffers as large as a kernel's, but without
sockets: everything happens on one loop, in an order that does not depend on the machine. A loop
with a clock of its own makes it independent of time as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

#: Bytes in flight to one side at most, like the kernel's buffer of a socket.
WINDOW = 65536
#: Bytes at most that a protocol receives at once.
_MOST_READ = 262144
_HIGH = 65536


def memory_pair(
    loop: asyncio.AbstractEventLoop | None = None,
    addresses: tuple[Any, Any] = (("memory", 1), ("memory", 2)),
    *,
    window: int = WINDOW,
) -> tuple[MemoryTransport, MemoryTransport]:
    """Two connected transports. Each is to be given a protocol with ``set_protocol``.

    :param loop: the loop that both belong to; the running one by default.
    :param addresses: the addresses of the two ends.
    :param window: bytes in flight in each direction at most.
    :raises RuntimeError: no loop is given, and none runs.
    """
    loop = loop or asyncio.get_running_loop()
    one, other = addresses
    left = MemoryTransport(loop, {"sockname": one, "peername": other}, window)
    right = MemoryTransport(loop, {"sockname": other, "peername": one}, window)
    left._peer, right._peer = right, left
    return left, right


class MemoryTransport(asyncio.Transport):
    """One end of a connection in memory; made by :func:`memory_pair`.

    As with sockets, nothing is received before the loop runs again, a protocol that does not read
    makes the other one pause, :meth:`close` flushes, and a write to a closed side resets the
    connection.

    :ivar tap: if set, called with everything that is written.
    """

    _peer: MemoryTransport
    tap: Callable[[bytes], object] | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop, extra: dict[str, Any], window: int) -> None:
        super().__init__(extra)
        self._loop = loop
        self._window = window
        self._protocol: asyncio.Protocol | asyncio.BufferedProtocol | None = None
        self._unsent = bytearray()
        self._arrived = bytearray()
        self._high, self._low = _HIGH, _HIGH // 4
        self._writing_paused = False
        self._reading = True
        self._delivering = False
        self._closing = False
        #: Nothing is sent any more: what is written is lost.
        self._over = False
        self._lost = False
        # End of stream: requested and sent by this side; the peer's passed on to the protocol.
        self._ends = False
        self._end_sent = False
        self._end_told = False

    # -- the protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        if not isinstance(protocol, (asyncio.Protocol, asyncio.BufferedProtocol)):
            raise TypeError(f"a stream needs a protocol of streams, not {protocol!r}")
        self._protocol = protocol
        self._deliver_soon()

    def get_protocol(self) -> asyncio.Protocol | asyncio.BufferedProtocol:
        assert self._protocol is not None, "it was given no protocol yet"
        return self._protocol

    # -- reading

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._closing:
            self._reading = True
            self._deliver_soon()

    def _deliver_soon(self) -> None:
        due = self._arrived or (self._peer._end_sent and not self._end_told)
        if due and self._reading and not self._delivering and self._protocol is not None:
            self._delivering = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._delivering = False
        if not self._reading or self._lost:
            return
        if self._arrived:
            self._receive()
            self._peer._transmit()
        elif self._peer._end_sent and not self._end_told:
            self._end_told = True
            if not self.get_protocol().eof_received():
                self.close()
        self._deliver_soon()

    def _receive(self) -> None:
        """Have the protocol receive, once."""
        protocol = self.get_protocol()
        if isinstance(protocol, asyncio.BufferedProtocol):
            buffer = memoryview(protocol.get_buffer(-1)).cast("B")
            size = min(len(buffer), len(self._arrived))
            buffer[:size] = self._arrived[:size]
            del self._arrived[:size]
            protocol.buffer_updated(size)
        else:
            data = bytes(self._arrived[:_MOST_READ])
            del self._arrived[: len(data)]
            protocol.data_received(data)

    # -- writing

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._ends:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._over or not data:
            return
        if self.tap is not None:
            self.tap(bytes(data))
        self._unsent += data
        if not self._closing:
            self._transmit()
            self._pause_if_full()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.write(b"".join(list_of_data))

    def _transmit(self) -> None:
        """Send as much as the window allows."""
        peer = self._peer
        if peer._lost and self._unsent:
            self._loop.call_soon(self._lose, ConnectionResetError("Connection reset by peer"))
            return
        size = min(len(self._unsent), max(0, self._window - len(peer._arrived)))
        if size:
            peer._arrived += self._unsent[:size]
            del self._unsent[:size]
        if self._writing_paused and len(self._unsent) <= self._low and not self._over:
            self._writing_paused = False
            self.get_protocol().resume_writing()
        if not self._unsent:
            self._all_sent()
        peer._deliver_soon()

    def _all_sent(self) -> None:
        if self._ends or self._closing:
            self._end_sent = True
        if self._closing and not self._lost:
            self._over = True
            self._loop.call_soon(self._lose, None)

    def _pause_if_full(self) -> None:
        if len(self._unsent) > self._high and not self._writing_paused:
            self._writing_paused = True
            self.get_protocol().pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        if self._protocol is not None and not self._lost:
            self._pause_if_full()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._ends and not self._closing:
            self._ends = True
            self._transmit()

    # -- ending

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Flush, then close; nothing is received any more."""
        if not self._closing:
            self._closing = True
            self._transmit()

    def abort(self) -> None:
        """Close at once; unsent bytes are lost."""
        self._unsent.clear()
        self._over = True
        if self._closing:
            self._loop.call_soon(self._lose, None)
        else:
            self.close()

    def reset(self) -> None:
        """Lose the connection on both sides, and everything in flight."""
        for side in (self, self._peer):
            side._loop.call_soon(side._lose, ConnectionResetError("Connection reset by peer"))

    def _lose(self, exc: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = self._over = True
        # Closing with unread bytes resets the connection, as with TCP.
        unread, peer = bool(self._arrived), self._peer
        self._unsent.clear()
        self._arrived.clear()
        self._end_sent = True
        if self._protocol is not None:
            self._protocol.connection_lost(exc)
        if unread and not peer._lost:
            peer._lose(ConnectionResetError("Connection reset by peer"))
        else:
            peer._deliver_soon()
            peer._transmit()

    def __repr__(self) -> str:
        state = "lost" if self._lost else "closing" if self._closing else "open"
        return f"<MemoryTransport {self.get_extra_info('sockname')} {state}>"
