"""The sessions: what a program keeps for each connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from hisock._server.connection import Connection

    #: What a server keeps for each connection. With the default, ``HiSockServer`` alone is a
    #: complete type, also where type checkers want the parameters of generic ones.
    Session = TypeVar("Session", default=Any)
else:
    from typing import TypeVar

    Session = TypeVar("Session")  # typing has defaults from Python 3.13 on


class Sessions:
    """Makes the session of a connection when it is first asked for. From any thread.

    :param make: makes one.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        # One lock a connection: making a session may be slow, and may need another's session.
        self._making: WeakKeyDictionary[Connection, threading.RLock] = WeakKeyDictionary()

    def of(self, connection: Connection) -> Any:
        """The session of a connection, the same for all threads."""
        if connection.session is None:
            with self._lock:
                making = self._making.setdefault(connection, threading.RLock())
            with making:
                if connection.session is None:
                    connection.session = self._make()
            if connection.session is not None:
                with self._lock:
                    self._making.pop(connection, None)
        return connection.session
