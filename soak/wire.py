"""The wire format in a few lines, for programs that do without the library."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

Addr = tuple[str, int]


def frame(payload: bytes) -> bytes:
    return str(len(payload)).encode().ljust(16) + payload


def command_frame(command: str, message: bytes | None = None) -> bytes:
    payload = b"$CMD$" + command.encode()
    return frame(payload if message is None else payload + b"$MSG$" + message)


def hello_frame(name: str | None, **more: Any) -> bytes:
    return frame(b"$CLTHELLO$" + json.dumps({"name": name, "group": None, **more}).encode())


class Line:
    """One connection, read as far as wanted; half a second is all that it waits for."""

    def __init__(self, addr: Addr) -> None:
        self.sock = socket.create_connection(addr, timeout=5.0)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(0.5)
        self._buffer = bytearray()

    @classmethod
    def joined(cls, addr: Addr, name: str | None = "attacker", **hello: Any) -> Line:
        """A connection that has said hello."""
        line = cls(addr)
        line.write(hello_frame(name, **hello))
        return line

    @property
    def ip(self) -> str:
        host, port = self.sock.getsockname()[:2]
        return f"{host}:{port}"

    def write(self, data: bytes) -> bool:
        """Write what is taken; ``False`` if the server takes no more, or has hung up."""
        try:
            self.sock.sendall(data)
        except OSError:
            return False
        return True

    def frames(self, seconds: float) -> Iterator[bytes]:
        """What comes, until nothing came for that long or the connection has ended."""
        self.sock.settimeout(seconds)
        # A server that ends the connection may reset it.
        with contextlib.suppress(OSError):
            while True:
                while (end := self._end()) is not None:
                    payload = bytes(self._buffer[16:end])
                    del self._buffer[:end]
                    yield payload
                data = self.sock.recv(262144)
                if not data:
                    return
                self._buffer += data

    def _end(self) -> int | None:
        if len(self._buffer) < 16:
            return None
        end = 16 + int(self._buffer[:16])
        return end if len(self._buffer) >= end else None

    def wait_for(self, start: bytes, seconds: float = 5.0) -> bytes | None:
        """The next payload that begins like that; ``None`` if it does not come."""
        for payload in self.frames(seconds):
            if payload.startswith(start):
                return payload
        return None

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
