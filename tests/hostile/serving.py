"""Servers for attackers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import hisock

from .conftest import Loop


@contextlib.contextmanager
def serving(loop: Loop, **options: Any) -> Iterator[hisock.ThreadedHiSockServer]:
    """A server that answers ``ping``, and is not started."""
    with hisock.ThreadedHiSockServer(("127.0.0.1", 0), loop=loop, **options) as server:
        server.on("ping")(lambda client: server.send_client(client, "pong"))
        yield server
