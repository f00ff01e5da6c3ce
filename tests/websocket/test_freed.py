"""A WebSocket that has ended is freed at once, without the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support.polling import eventually

import hisock

from .web_peer import WebPeer


@pytest.mark.parametrize("end", ["leaves", "closes", "is cut", "is reset", "is kicked", "garbage"])
def test_one_that_ends(
    server: hisock.ThreadedHiSockServer, join: Callable[..., WebPeer], end: str
) -> None:
    gc.collect()
    gc.disable()
    try:
        peer = join("Ann")
        peer.ask("echo", "x" * 5000)
        connection: weakref.ref[Any] = weakref.ref(server.get_client("Ann")._peer)
        if end == "leaves":
            peer.reserved("USRCLOSE")
        elif end == "closes":
            peer.close()
        elif end == "is cut":
            peer.end_writing()
        elif end == "is reset":
            peer.reset()
        elif end == "is kicked":
            server.disconnect_client("Ann")
        else:
            peer.sock.sendall(b"\xff" * 100)
        if end not in ("closes", "is reset"):
            peer.wait_closed()
            peer.close()
        eventually(lambda: connection() is None, "it is freed")
    finally:
        gc.enable()
