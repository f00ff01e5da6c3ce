"""The listening sockets of one address that several worker processes accept from.

On Linux each worker has a socket of its own at the same port, and the kernel spreads connections
evenly over them (SO_REUSEPORT). The parent opens all of them and keeps them open, so that the
connections that wait in the backlog of a worker survive its restart. Unix sockets, and systems
whose SO_REUSEPORT does not spread connections, have one socket that all workers accept from.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

from hisock._runtime import sockets
from hisock._runtime.sockets import Address, ListeningSocket


class SharedAddress:
    """One address, and the sockets that listen there, by the worker's number.

    :ivar addr: the address with its real port, or the path of a Unix socket.
    :raises OSError: the address is in use, or is not one of this machine.
    :raises TypeError: that is no address.
    """

    def __init__(self, addr: Address) -> None:
        # Without SO_REUSEPORT: another program that shares its port as well would not be noticed.
        first = sockets.bind(addr)
        self.addr: Any = sockets.local_address(first)
        self._inode = sockets.path_inode(first)
        self._own: dict[int, socket.socket] = {}
        self._spread = sys.platform == "linux" and not sockets.is_unix(first)
        if isinstance(addr, socket.socket):
            self._spread = False
        if self._spread:
            # It holds the port as long as the workers have it, and never listens.
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        else:
            sockets.start_listening(first)
        self._first = first

    def open(self, number: int) -> socket.socket:
        """The socket that a worker is to accept from."""
        if not self._spread:
            return self._first
        if number not in self._own:
            own = sockets.bind_beside(self._first)
            sockets.start_listening(own)
            self._own[number] = own
        return self._own[number]

    def release(self, number: int) -> None:
        """Close the socket of a worker that is away for long; the kernel asks the others then."""
        if number in self._own:
            self._own.pop(number).close()

    def close(self) -> None:
        """Close all of them in this process, and remove the path of a Unix socket."""
        for number in list(self._own):
            self.release(number)
        if self._first.fileno() != -1:
            ListeningSocket(self._first, self.addr, self._inode).close()


def open_shared(addr: Address | list[Address]) -> list[SharedAddress]:
    """Open an address, or each of a list of them, for several workers.

    :raises OSError: an address is in use, or is not one of this machine.
    :raises TypeError: that is no address.
    """
    addresses = addr if isinstance(addr, list) else [addr]
    if not addresses:
        raise TypeError("addr is an empty list; give at least one address to listen on")
    opened: list[SharedAddress] = []
    try:
        opened.extend(SharedAddress(one) for one in addresses)
    except BaseException:
        for one in opened:
            one.close()
        raise
    return opened
