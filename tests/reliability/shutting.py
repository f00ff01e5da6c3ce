"""Servers that are being closed, and handlers that their end waits for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

from support import Events, Frame, Peer
from support.events import PATIENCE
from support.polling import eventually

import hisock

#: Seconds that no test needs; one that would wait so long fails.
LONG = 4 * PATIENCE


def refused(addr: tuple[str, int]) -> bool:
    try:
        socket.create_connection(addr, timeout=PATIENCE).close()
    except ConnectionError:
        return True
    return False


def refuses(server: hisock.HiSockServer) -> bool:
    """Whether nobody can connect any more: then the server is closing."""
    return refused(server.addr)


@contextlib.contextmanager
def closing_in_a_thread(server: hisock.HiSockServer, timeout: float | None) -> Iterator[None]:
    """The block runs while the server closes; afterwards it has closed."""
    thread = threading.Thread(target=lambda: server.close(timeout=timeout))
    thread.start()
    try:
        eventually(lambda: refuses(server), "the server begins to close")
        yield
    finally:
        thread.join(PATIENCE)
    assert not thread.is_alive()


def farewell(peer: Peer) -> list[str | None]:
    """What a peer is :func:`told` until the server ends the connection; then it closes as well."""
    frames = peer.rest()
    peer.close()
    return told(frames)


def told(frames: list[Frame]) -> list[str | None]:
    """The commands, and names of reserved frames, that a peer got; not who came and went."""
    names = [got.command or got.reserved for got in frames]
    return [name for name in names if name not in ("CLTCONN", "CLTDISCONN")]


class Held:
    """A server whose handlers ``hold`` wait for the frame ``go on``, and then say ``held``."""

    def __init__(self, kind: str, events: Events) -> None:
        self.kind = kind
        self.events = events

    def wire(self, server: hisock.ThreadedHiSockServer) -> None:
        events = self.events
        server.on("leave")(lambda client: events.add("leave", client.name))
        if self.kind == "threaded":

            @server.on("hold", threaded=True)
            def hold(client: hisock.ClientInfo) -> str:
                events.add("began")
                server.recv("go on", timeout=LONG)
                server.send_client(client, "held", b"")
                events.add("ended")
                return "done"
        else:

            @server.on("hold", concurrent=self.kind == "concurrent")
            async def hold_on(client: hisock.ClientInfo) -> str:
                events.add("began")
                try:
                    await server.wait_for("go on", timeout=LONG)
                except asyncio.CancelledError:
                    events.add("cancelled")
                    raise
                server.send_client(client, "held", b"")
                events.add("ended")
                return "done"
