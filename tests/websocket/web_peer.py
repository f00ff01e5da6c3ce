"""WebSockets in a few lines that owe nothing to the library under test, nor to its engines."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
import time
from typing import Any

from support import Peer
from support.events import PATIENCE
from support.wire import Closed

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
#: What the standard calls a close frame without a code.
NO_CODE = 1005


def message(
    payload: bytes,
    opcode: int = BINARY,
    *,
    fin: bool = True,
    bits: int = 0,
    masked: bool = True,
    claimed: int | None = None,
    long_form: int | None = None,
) -> bytes:
    """A frame of a WebSocket, right or wrong.

    :param bits: the reserved bits, 0 to 7.
    :param claimed: the length that its header says, if not that of the payload.
    :param long_form: 126 or 127, to write the length in a longer form than it needs.
    """
    size = len(payload) if claimed is None else claimed
    form = long_form or (size if size < 126 else 126 if size < 65536 else 127)
    head = bytes([fin << 7 | bits << 4 | opcode, masked << 7 | form])
    if form >= 126:
        head += struct.pack("!H" if form == 126 else "!Q", size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + _masked(payload, mask)


def _masked(payload: bytes, mask: bytes) -> bytes:
    """As one number, since a loop over the bytes of a large message takes seconds."""
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return number.to_bytes(len(payload), "big")


def request(
    path: str = "/", *fields: tuple[str, str], host: str = "127.0.0.1", **headers: str
) -> bytes:
    """The request that a WebSocket begins with; a header whose value is empty is left out."""
    said = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "hisock.v3",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items() if value)]
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Answer:
    """The answer to a request: its status, its headers, and its body."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }


class WebPeer(Peer):
    """A peer that speaks the protocol by hand, in the messages of a WebSocket.

    :ivar messages: how long each binary message was that came.
    :ivar controls: opcode and payload of each other message that came.
    :ivar code: the close code that came, with its reason; ``None`` as long as none has.
    :ivar answers_close: whether it answers a close frame, as the standard has it and browsers do.
        A server waits for that answer before it closes the connection, for a while.
    """

    answers_close = True

    def __init__(self, addr: Any, sock: socket.socket | None = None) -> None:
        super().__init__(addr, sock=sock)
        self.messages: list[int] = []
        self.controls: list[tuple[int, bytes]] = []
        self.code: int | None = None
        self.reason = ""
        self._wire = bytearray()
        self._opened = False

    def open(self, path: str = "/", *fields: tuple[str, str], **headers: str) -> Answer:
        """Ask for a WebSocket."""
        self.sock.sendall(request(path, *fields, **headers))
        return self.answer()

    def answer(self) -> Answer:
        """The answer to a request, with its body where it becomes no WebSocket."""
        deadline = time.monotonic() + PATIENCE
        while b"\r\n\r\n" not in self._wire:
            self._read_wire(deadline)
        got = Answer(bytes(self._wire))
        self._opened = got.status == 101
        if self._opened:
            self._wire = bytearray(got.body)
            self._take_messages()
            return got
        while len(got.body) < int(got.headers.get("content-length", 0)):
            self._read_wire(deadline)
            got = Answer(bytes(self._wire))
        return got

    @classmethod
    def in_web(cls, addr: Any, name: str | None = None, **headers: str) -> WebPeer:
        """A peer that has joined."""
        peer = cls(addr)
        assert peer.open(**headers).status == 101
        peer.hello(name)
        peer.wait_for(lambda frame: frame.reserved == "CLTCONN")
        return peer

    def write(self, data: bytes) -> None:
        self.sock.sendall(message(data))

    def say(self, data: bytes) -> None:
        """Bytes as they are, below the WebSocket."""
        self.sock.sendall(data)

    def _read_wire(self, deadline: float) -> None:
        self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            received = self.sock.recv(262144)
        except ConnectionError as exc:
            raise Closed(type(exc).__name__) from exc
        if not received:
            raise Closed(f"end of stream, close code {self.code}")
        self._wire += received

    def _receive(self, deadline: float) -> None:
        self._read_wire(deadline)
        self._take_messages()

    def _take_messages(self) -> None:
        while (where := self._whole()) is not None:
            self._take_message(where)

    def _whole(self) -> tuple[int, int] | None:
        """Where the payload of the next message begins and ends, if it is whole."""
        wire = self._wire
        if len(wire) < 2:
            return None
        assert not wire[1] & 0x80, "a server masks nothing"
        start, size = {126: (4, ">H"), 127: (10, ">Q")}.get(wire[1], (2, "")), wire[1]
        if len(wire) < start[0]:
            return None
        if start[1]:
            size = struct.unpack(start[1], wire[2 : start[0]])[0]
        return (start[0], start[0] + size) if len(wire) >= start[0] + size else None

    def _take_message(self, where: tuple[int, int]) -> None:
        opcode, payload = self._wire[0] & 15, bytes(self._wire[where[0] : where[1]])
        assert self._wire[0] & 0x70 == 0, "no extension was agreed on"
        del self._wire[: where[1]]
        if opcode == BINARY:
            self.messages.append(len(payload))
            self._buffer += payload
        elif opcode == CLOSE:
            self.code = struct.unpack("!H", payload[:2])[0] if payload else NO_CODE
            self.reason = payload[2:].decode()
            if self.answers_close:
                with contextlib.suppress(OSError):  # where the server has closed it already
                    self.say(message(payload[:2], CLOSE))
        else:
            self.controls.append((opcode, payload))

    def wait_closed(self) -> tuple[int | None, str]:
        """Read to the end; the close code and its reason."""
        self.rest()
        return self.code, self.reason
