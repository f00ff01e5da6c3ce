"""Handing accepted sockets over to the loop, which makes their transports.

Only a coroutine of the loop can do that. A task for each socket would take longer than all else
that happens to it, and nothing needs one: the coroutine waits until the transport is ready, after
the TLS handshake where there is one. So it is run by hand.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from hisock._server.connection import Connection

HandOver = Callable[[Connection, socket.socket], Coroutine[Any, Any, None]]


class HandingOver:
    """The sockets that are being handed over.

    :param hand_over: does it for one socket; it needs no task.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hand_over: HandOver) -> None:
        self.loop = loop
        self._hand_over = hand_over
        self._under_way: set[_One] = set()
        self._ended: asyncio.Future[None] | None = None

    def add(self, connection: Connection, sock: socket.socket) -> None:
        """Hand a socket over."""
        one = _One(self, connection, self._hand_over(connection, sock))
        self._under_way.add(one)
        one.go_on()

    def end(self, one: _One) -> None:
        """Forget one that has ended."""
        self._under_way.discard(one)
        if not self._under_way and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def cancel(self) -> None:
        """Give up those that wait for a TLS handshake.

        The connection may be made already although its coroutine has not gone on yet.
        """
        for one in self._under_way:
            if one.waits_for is not None and not one.connection.made:
                one.waits_for.cancel()

    async def close(self) -> None:
        """Wait until all that has been accepted is handed over, or given up."""
        if self._under_way:
            self._ended = self.loop.create_future()
            await self._ended


class _One:
    """One of them.

    :ivar waits_for: what its coroutine waits for; ``None`` while it runs, or waits for the next
        iteration.
    """

    __slots__ = ("_all", "_coroutine", "connection", "waits_for")

    def __init__(
        self, all_: HandingOver, connection: Connection, coroutine: Coroutine[Any, Any, None]
    ) -> None:
        self._all = all_
        self._coroutine = coroutine
        self.connection = connection
        self.waits_for: asyncio.Future[Any] | None = None

    def go_on(self, _done: asyncio.Future[Any] | None = None) -> None:
        """Run the coroutine until it waits, as a task does."""
        self.waits_for = None
        try:
            waits_for = self._coroutine.send(None)
        except (StopIteration, asyncio.CancelledError):
            self._all.end(self)
        except Exception as exc:  # of this one: what accepts the others goes on
            self._all.end(self)
            text = "an accepted socket could not be handed over"
            self._all.loop.call_exception_handler({"message": text, "exception": exc})
        except BaseException:
            self._all.end(self)
            raise
        else:
            if waits_for is None:  # until the next iteration
                self._all.loop.call_soon(self.go_on)
            else:
                self.waits_for = waits_for
                waits_for.add_done_callback(self.go_on)
