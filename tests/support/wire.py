"""The wire format once more, in a few lines that owe nothing to the library under test."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from support.events import PATIENCE

HEADER_LEN = 16
P = TypeVar("P", bound="Peer")


def frame(payload: bytes, header_len: int = HEADER_LEN) -> bytes:
    """A frame with that payload."""
    return str(len(payload)).encode().ljust(header_len) + payload


def command_frame(
    command: str | bytes, message: bytes | str | None = None, header_len: int = HEADER_LEN
) -> bytes:
    """A frame with that command, and with that message unless it is ``None``."""
    payload = b"$CMD$" + (command.encode() if isinstance(command, str) else command)
    if message is not None:
        payload += b"$MSG$" + (message.encode() if isinstance(message, str) else message)
    return frame(payload, header_len)


@dataclass(frozen=True)
class Frame:
    """One received frame, taken apart."""

    payload: bytes

    @property
    def command(self) -> str | None:
        """The command, ``None`` for reserved and raw frames."""
        if not self.payload.startswith(b"$CMD$"):
            return None
        return self.payload[5:].partition(b"$MSG$")[0].decode()

    @property
    def message(self) -> bytes | None:
        """What follows ``$MSG$``, ``None`` when there is no ``$MSG$``."""
        head, found, message = self.payload.partition(b"$MSG$")
        return message if found and head.startswith(b"$CMD$") else None

    @property
    def reserved(self) -> str | None:
        """``CLTCONN`` for a ``$CLTCONN$`` frame; ``None`` for command and raw frames."""
        if not self.payload.startswith(b"$") or self.command is not None:
            return None
        return self.payload[1:].partition(b"$")[0].decode()

    @property
    def data(self) -> bytes:
        """What follows a reserved name."""
        return self.payload[1:].partition(b"$")[2]

    @property
    def json(self) -> Any:
        """The JSON of the message, of a reserved frame's data, or of a raw payload."""
        if self.command is not None:
            return json.loads(self.message or b"null")
        return json.loads(self.data if self.reserved else self.payload)


class Closed(Exception):
    """The other side closed the connection."""


class Peer:
    """A raw socket that speaks the protocol by hand.

    Closing is left to :meth:`close` or a ``with`` block, and says nothing to the other side.
    """

    def __init__(
        self,
        addr: tuple[str, int],
        header_len: int = HEADER_LEN,
        sock: socket.socket | None = None,
    ) -> None:
        self.header_len = header_len
        self.sock = sock or socket.create_connection(addr, timeout=PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.addr: tuple[str, int] = self.sock.getsockname()
        self._buffer = bytearray()

    @classmethod
    def joined(
        cls,
        addr: tuple[str, int],
        name: str | None = None,
        group: str | None = None,
        header_len: int = HEADER_LEN,
    ) -> Peer:
        """A peer that said hello and was told that it joined."""
        peer = cls(addr, header_len)
        peer.hello(name, group)
        peer.wait_for(lambda f: f.reserved == "CLTCONN" and f.json["ip"] == list(peer.addr))
        return peer

    def __enter__(self: P) -> P:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ip(self) -> str:
        """``"ip:port"`` as the server sees this peer."""
        return f"{self.addr[0]}:{self.addr[1]}"

    # Sending

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self.sock.sendall(data)

    def hello(self, name: str | None = None, group: str | None = None) -> None:
        self.reserved("CLTHELLO", json.dumps({"name": name, "group": group}))

    def reserved(self, name: str, data: str = "") -> None:
        self.raw(f"${name}${data}".encode())

    def send(self, command: str, message: bytes | str | None = None) -> None:
        self.write(command_frame(command, message, self.header_len))

    def raw(self, payload: bytes) -> None:
        self.write(frame(payload, self.header_len))

    # Receiving

    def read(self, timeout: float = PATIENCE) -> Frame:
        """The next frame.

        :raises Closed: the connection ended, or was reset, before it.
        :raises TimeoutError: nothing came.
        """
        deadline = time.monotonic() + timeout
        header = self._take(self.header_len, deadline)
        assert header.rstrip(b" ").isdigit(), f"not a header: {header!r}"
        return Frame(self._take(int(header), deadline))

    def _take(self, size: int, deadline: float) -> bytes:
        while len(self._buffer) < size:
            self._receive(deadline)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _receive(self, deadline: float) -> None:
        self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            received = self.sock.recv(262144)
        except ConnectionError as exc:
            raise Closed(f"{type(exc).__name__} with {self._buffer[:200]!r} pending") from exc
        if not received:
            raise Closed(f"end of stream with {self._buffer[:200]!r} pending")
        self._buffer += received

    def wait_for(self, wanted: Callable[[Frame], Any] | str, timeout: float = PATIENCE) -> Frame:
        """The next frame that is wanted (a predicate, or a command); others are skipped."""
        deadline = time.monotonic() + timeout
        skipped: list[bytes] = []
        while True:
            try:
                got = self.read(deadline - time.monotonic())
            except (TimeoutError, Closed) as exc:
                raise AssertionError(
                    f"{exc!r} while waiting; {len(skipped)} frames before, at last {skipped[-5:]}"
                ) from exc
            if got.command == wanted if isinstance(wanted, str) else wanted(got):
                return got
            skipped.append(got.payload[:200])

    def rest(self, timeout: float = PATIENCE) -> list[Frame]:
        """Every frame until the other side closes."""
        frames = []
        deadline = time.monotonic() + timeout
        with contextlib.suppress(Closed):
            while True:
                frames.append(self.read(deadline - time.monotonic()))
        return frames

    def read_through(self, needle: bytes, timeout: float = PATIENCE) -> bytes:
        """Everything up to and including ``needle``, not taken apart: for very many frames."""
        deadline = time.monotonic() + timeout
        start = 0
        while (found := self._buffer.find(needle, start)) < 0:
            start = max(len(self._buffer) - len(needle), 0)
            self._receive(deadline)
        return self._take(found + len(needle), deadline)

    def ask(self, command: str, message: bytes | str | None = None, answer: str = "") -> Frame:
        """Send, and wait for the answer: the next frame of the same (or that) command."""
        self.send(command, message)
        return self.wait_for(answer or command)

    # Ending

    def end_writing(self) -> None:
        """Say that nothing more comes, and still read."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close with a TCP reset instead of a goodbye."""
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.sock.close()


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """A listening socket on a free port, for tests that play the server by hand."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener


def raise_descriptor_limit(wanted: int) -> None:
    """Let this process open that many files, as far as the system allows."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
