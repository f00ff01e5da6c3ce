"""The server's part in a forked child process: see :mod:`hisock._runtime.forks`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hisock._runtime.sockets import disown
from hisock._runtime.threads import Threads

if TYPE_CHECKING:
    from hisock._server.hub import Hub


def forget_connections(hub: Hub) -> None:
    """Drop all connections without closing them; they belong to the parent."""
    hub.thread.forget()
    hub.lock = threading.Lock()
    hub.workers = hub.runner.workers = Threads("hisock-server")
    for connection in hub.connections:
        connection.outbox.close()
        disown(connection.socket)
