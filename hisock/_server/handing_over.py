"""Handing accepted sockets over to the loop, which makes their transports.

Only a coroutine of the loop can do that. A task for each socket would take longer than all else
that happens to it, and without TLS nothing needs one: the coroutine waits once, until the transport
is ready. So it is run by hand.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from hisock._server.connection import Connection

_One = Coroutine[Any, Any, None]
HandOver = Callable[[Connection, socket.socket], _One]


class HandingOver:
    """The sockets that are being handed over.

    :param hand_over: does it for one socket; it needs no task.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hand_over: HandOver) -> None:
        self._loop = loop
        self._hand_over = hand_over
        self._under_way: set[_One] = set()
        self._ended: asyncio.Future[None] | None = None

    def add(self, connection: Connection, sock: socket.socket) -> None:
        """Hand a socket over."""
        one = self._hand_over(connection, sock)
        self._under_way.add(one)
        self._go_on(one)

    def _go_on(self, one: _One, _done: asyncio.Future[Any] | None = None) -> None:
        """Run a coroutine until it waits, as a task does."""
        try:
            waits_for: asyncio.Future[Any] | None = one.send(None)
        except StopIteration:
            self._end(one)
        except Exception as exc:  # of this one: what accepts the others goes on
            self._end(one)
            text = "an accepted socket could not be handed over"
            self._loop.call_exception_handler({"message": text, "exception": exc})
        except BaseException:
            self._end(one)
            raise
        else:
            if waits_for is None:  # until the next iteration
                self._loop.call_soon(self._go_on, one)
            else:
                waits_for.add_done_callback(partial(self._go_on, one))

    def _end(self, one: _One) -> None:
        self._under_way.discard(one)
        if not self._under_way and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def close(self) -> None:
        """Wait until all that has been accepted is handed over."""
        if self._under_way:
            self._ended = self._loop.create_future()
            await self._ended
