"""The loops as transports of aiofastnet see them, with remedies for what these take amiss.

libuv, below uvloop, reports once that a peer has reset its connection, and stops watching the
socket. A transport that takes only a part of what came before does not hear of it again then. On
Linux an epoll of its own, which the loop watches, tells that.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import sys
from collections.abc import Callable
from typing import Any
from weakref import ref

#: What aiofastnet reports of a connection that has failed. The handshake or ``connection_lost``
#: tells the same, the server logs that at a limited rate, and for a client that hangs up during the
#: handshake aiofastnet 1.2.0 reports the class of an exception, which ``logging`` cannot print.
_TOLD_OTHERWISE = frozenset(
    (
        "SSL handshake failed",
        "Error occurred during read",
        "Error occurred during write",
        "Error occurred during shutdown",
    )
)


#: What the transports call for each connection.
_OFTEN = ("call_later", "call_soon", "create_future", "get_debug")


class TransportLoop:
    """A loop, without reports of what strangers can bring about."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        for name in _OFTEN:  # __getattr__ is slow
            setattr(self, name, getattr(loop, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def expect(self, fd: int) -> None:
        """A socket with that number, which has been accepted, comes next."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if context.get("message") not in _TOLD_OTHERWISE:
            self._loop.call_exception_handler(context)


class LibuvLoop(TransportLoop):
    """A loop of libuv. The transports hold it, and the loop does not: its epoll is closed when all
    of them have closed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._expected = -1
        self._readers: dict[int, Callable[[], object]] = {}
        #: Those of them that have hung up, and are read until that shows.
        self._hung: set[int] = set()
        self._epoll = select.epoll() if sys.platform == "linux" else None
        if self._epoll is not None:
            loop.add_reader(self._epoll.fileno(), _look, ref(self))

    def expect(self, fd: int) -> None:
        self._expected = fd

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """Call back when something can be read, until a hang-up has been read as well.

        Not before what has been scheduled already, but for a new socket: libuv would look first,
        and the buffer of a transport that resumes reading may still be full.
        """
        self._readers[fd] = callback
        if fd == self._expected:
            self._expected = -1
            self._watch(fd)
        else:
            self._loop.call_soon(self._watch, fd)

    def remove_reader(self, fd: int) -> bool:
        self._readers.pop(fd, None)
        self._hung.discard(fd)
        if self._epoll is not None:
            try:
                self._epoll.unregister(fd)
            except FileNotFoundError:  # it was to be watched only now
                pass
        return self._loop.remove_reader(fd)

    def _watch(self, fd: int) -> None:
        callback = self._readers.get(fd)
        if callback is None:
            return
        self._loop.add_reader(fd, callback)
        if self._epoll is not None:
            try:
                # Errors and hang-ups are reported whatever is asked for, here once each.
                self._epoll.register(fd, select.EPOLLET)
            except FileExistsError:  # it was paused and resumed meanwhile
                pass

    def look(self) -> None:
        """Read what has hung up."""
        assert self._epoll is not None, "it is what has been looked at"
        for fd, _ in self._epoll.poll(0):
            if fd in self._readers:
                self._hung.add(fd)
                self._loop.call_soon(self._read_on, fd)

    def _read_on(self, fd: int) -> None:
        if fd in self._hung:
            self._readers[fd]()
            self._loop.call_soon(self._read_on, fd)

    def __del__(self) -> None:
        # It may be freed by any thread, and when the loop has been closed.
        with contextlib.suppress(RuntimeError):
            if self._epoll is not None:
                self._loop.call_soon_threadsafe(_stop_looking, self._loop, self._epoll)


def _look(loop: ref[LibuvLoop]) -> None:
    watched = loop()
    if watched is not None:
        watched.look()


def _stop_looking(loop: asyncio.AbstractEventLoop, epoll: select.epoll) -> None:
    loop.remove_reader(epoll.fileno())
    epoll.close()


def transport_loop(loop: asyncio.AbstractEventLoop) -> TransportLoop:
    """A loop to give to transports of aiofastnet."""
    own = type(loop).__module__.startswith("asyncio.")
    return TransportLoop(loop) if own else LibuvLoop(loop)
