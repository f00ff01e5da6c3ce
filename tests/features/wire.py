"""Peers of this version by hand, a server by hand, and a relay that keeps what passes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import selectors
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ClassVar, TypeVar

from support import Frame, Peer
from support.events import PATIENCE

from .loops import LOOPBACK, within

FEATURES = ["call", "reject"]
#: What follows ``$REPLY$``, and makes no sense.
BAD_REPLIES = [
    b"",
    b"x",
    b"-1",
    b"+1$MSG$x",
    b" 1",
    b"1 $MSG$x",
    b"1_0",
    b"1$CMD$x",
    b"1$MSG",
    b"1$",
    b"1$XYZ$",
    b"$MSG$x",
    b"$ERR$x",
    b"1" * 21,
    b"1" * 21 + b"$MSG$x",
    "٣".encode(),
]
T = TypeVar("T")


def modern_peer(addr: tuple[str, int], name: str | None = None, **hello: Any) -> Peer:
    """A raw peer that says it knows what this version knows, and that has joined."""
    peer = Peer(addr)
    greet(peer, name, **hello)
    peer.wait_for(lambda f: f.reserved == "CLTCONN" and f.json["ip"] == list(peer.addr))
    return peer


def greet(peer: Peer, name: str | None = None, group: str | None = None, **more: Any) -> None:
    """Say hello as a client of this version does."""
    hello = {"name": name, "group": group, "features": FEATURES, **more}
    peer.reserved("CLTHELLO", json.dumps(hello))


class HandServer:
    """A server by hand: it accepts one client at a time and speaks the protocol as a raw peer.

    :param modern: says hello as this version does; otherwise it is as 2.0.2 is.
    :ivar listening: the addresses of all such servers that listen.
    """

    listening: ClassVar[set[tuple[str, int]]] = set()

    def __init__(self, modern: bool = True) -> None:
        self.modern = modern
        self.listener = socket.create_server(LOOPBACK)
        self.listener.settimeout(PATIENCE)
        self.addr: tuple[str, int] = self.listener.getsockname()
        self.listening.add(self.addr)

    def accept(self) -> Peer:
        """The next client, after its hello was read and answered."""
        peer = self.take()
        hello = peer.read()
        assert hello.reserved == "CLTHELLO"
        ip = list(peer.sock.getpeername())
        if self.modern:
            peer.reserved("SRVHELLO", json.dumps({"features": FEATURES, "codec": "json"}))
        info = {"ip": ip, "name": hello.json["name"], "group": hello.json["group"]}
        peer.reserved("CLTCONN", json.dumps(info))
        return peer

    async def serve(self, connecting: Awaitable[T]) -> tuple[T, Peer]:
        """The client that connects, and the peer that it has here."""
        accepting = asyncio.get_running_loop().run_in_executor(None, self.accept)
        client, peer = await within(asyncio.gather(connecting, accepting))
        return client, peer

    def take(self) -> Peer:
        """The next connection, as it comes."""
        connection, _ = self.listener.accept()
        return Peer(self.addr, sock=connection)

    def go_away(self) -> None:
        """Stop listening, so that nobody can connect."""
        self.listener.close()

    def come_back(self) -> None:
        """Listen again, at the same address."""
        self.listener = socket.create_server(self.addr)
        self.listener.settimeout(PATIENCE)

    @contextlib.contextmanager
    def playing(self, play: Callable[[], Any]) -> Iterator[None]:
        """Do something as the server while the block runs; it has to have ended then."""
        failures: list[BaseException] = []

        def run() -> None:
            try:
                play()
            except BaseException as exc:
                failures.append(exc)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join(PATIENCE)
            if failures:
                raise failures[0]
        assert not thread.is_alive()

    @property
    def somebody_waits(self) -> bool:
        """Whether a client has connected that was not accepted yet."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            return bool(selector.select(0))

    def close(self) -> None:
        self.listening.discard(self.addr)
        self.listener.close()

    def __enter__(self) -> HandServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


#: The reserved frames that 2.0.2 knows.
OLD_FRAMES = {
    "CLTHELLO",
    "CLTCONN",
    "CLTDISCONN",
    "KEEPALIVE",
    "KEEPACK",
    "DISCONN",
    "USRCLOSE",
    "GETCLT",
    "CHNAME",
    "CHGROUP",
}


class Relay:
    """Passes bytes on between clients and a server, and keeps what went each way."""

    def __init__(self, addr: tuple[str, int]) -> None:
        self._target = addr
        self._listener = socket.create_server(LOOPBACK)
        self.addr: tuple[str, int] = self._listener.getsockname()
        self.to_server = bytearray()
        self.to_client = bytearray()
        self._sockets: list[socket.socket] = []
        self._lost: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, func: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=func, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                self._start(self._pass_on, client, server, self.to_server)
                self._start(self._pass_on, server, client, self.to_client)

    def _pass_on(self, source: socket.socket, target: socket.socket, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                kept += data
                target.sendall(data)
            if source not in self._lost:
                target.shutdown(socket.SHUT_WR)

    def lose_clients(self) -> None:
        """End the connections to the clients, of which the server hears nothing."""
        for client in self._sockets[::2]:
            self._lost.add(client)
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for sock in (self._listener, *self._sockets):
            sock.close()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def frames_in(stream: bytes) -> Iterator[Frame]:
    """The whole frames at the beginning of a stream."""
    position = 0
    while position + 16 <= len(stream):
        end = position + 16 + int(stream[position : position + 16])
        if end > len(stream):
            return
        yield Frame(bytes(stream[position + 16 : end]))
        position = end
