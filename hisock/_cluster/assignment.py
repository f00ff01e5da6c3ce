"""What a worker process is given by its parent: sockets, a number, and a connection to it."""

from __future__ import annotations

import functools
import json
import os
import socket
from dataclasses import asdict, dataclass

from hisock._runtime import sockets
from hisock._runtime.sockets import ListeningSocket

_VARIABLE = "HISOCK_WORKER"


@dataclass(frozen=True)
class Assignment:
    """One worker's part.

    :ivar number: 0 to ``count`` - 1; a worker that replaces another has its number.
    :ivar count: how many workers there are.
    :ivar control: the descriptor of the connection to the parent.
    :ivar inode: that of this connection, by which a worker knows that it is one.
    :ivar listeners: the descriptors of the listening sockets.
    :ivar folder: the directory, open to this user only, of the sockets between workers.
    """

    number: int
    count: int
    control: int
    inode: int
    listeners: tuple[int, ...]
    folder: str

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the worker inherits."""
        return (self.control, *self.listeners)

    def environment(self) -> dict[str, str]:
        """The environment that hands it to a worker."""
        return {**os.environ, _VARIABLE: json.dumps(asdict(self))}

    def listening(self) -> list[ListeningSocket]:
        """The listening sockets, in the worker."""
        taken = [_copy(number) for number in self.listeners]
        for one in taken:
            sockets.tell_family(one)
        return [ListeningSocket(one, sockets.local_address(one), 0, shared=True) for one in taken]

    def control_socket(self) -> socket.socket:
        """The connection to the parent, in the worker."""
        return _copy(self.control)


def _copy(descriptor: int) -> socket.socket:
    # A copy: a program may make more than one server, and one that goes closes its sockets.
    return socket.socket(fileno=os.dup(descriptor))


@functools.cache
def assignment() -> Assignment | None:
    """What this process is to do as a worker; ``None`` unless it is one.

    A program that a worker starts may inherit the environment, but not the descriptors, and is no
    worker. Who the parent process is tells nothing, since that may be killed while a worker starts.
    """
    text = os.environ.pop(_VARIABLE, None)
    if text is None:
        return None
    given = json.loads(text)
    given["listeners"] = tuple(given["listeners"])
    found = Assignment(**given)
    try:
        is_ours = os.fstat(found.control).st_ino == found.inode
    except OSError:
        is_ours = False
    if not is_ours:
        return None
    for descriptor in found.descriptors:
        os.set_inheritable(descriptor, False)
    return found
