"""Noticing on uvloop that a peer has reset its connection while something of it is unread.

libuv reports such a reset once, and stops watching the socket. A reader that takes only a part then
would not hear of it again. On Linux an epoll of its own, watched by the loop, tells that.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable
from weakref import WeakKeyDictionary


class Hangups:
    """Calls back when one of some sockets has an error, or both its directions have ended.

    It does not hold the loop, which it belongs to as long as that exists.
    """

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._calls: dict[int, Callable[[], object]] = {}

    def add(self, loop: asyncio.AbstractEventLoop, fd: int, call: Callable[[], object]) -> None:
        """Watch a descriptor until :meth:`remove`."""
        if self._epoll is None:
            self._epoll = select.epoll()
            loop.add_reader(self._epoll.fileno(), self._look)
        self._calls[fd] = call
        # Errors and hang-ups are reported whatever is asked for, here once each.
        self._epoll.register(fd, select.EPOLLET)

    def remove(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        """Watch it no more. While nothing is watched there is no epoll."""
        epoll = self._epoll
        if epoll is None or self._calls.pop(fd, None) is None:
            return
        epoll.unregister(fd)
        if not self._calls:
            loop.remove_reader(epoll.fileno())
            epoll.close()
            self._epoll = None

    def _look(self) -> None:
        for fd, _ in [] if self._epoll is None else self._epoll.poll(0):
            call = self._calls.get(fd)
            if call is not None:
                call()


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Hangups] = WeakKeyDictionary()


def hangups_of(loop: asyncio.AbstractEventLoop) -> Hangups | None:
    """What a loop has for its sockets; ``None`` for loops that report a reset again and again."""
    if sys.platform != "linux" or type(loop).__module__.startswith("asyncio."):
        return None
    if loop not in _of_loops:
        _of_loops[loop] = Hangups()
    return _of_loops[loop]
