"""WebSockets by picows, which is fast and leaves some checks to its users.

picows takes over a transport that has been accepted by what it makes for its own servers:
``WSProtocol``, which is not documented; so the extra ``hisock[websocket]`` pins its version.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from picows import (
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from hisock._core.http import HttpRequest
from hisock._websocket.handshake import Ruling
from hisock._websocket.picows_log import Silence
from hisock._websocket.pipe import MOST_UNREAD, MUCH, Endpoint, Pipe

if TYPE_CHECKING:
    from hisock._websocket.front import Front

_BINARY = WSMsgType.BINARY
_CONTINUATION = WSMsgType.CONTINUATION
_TEXT = WSMsgType.TEXT
_PING = WSMsgType.PING
_CLOSE = WSMsgType.CLOSE

#: picows sends more than this by a view of its own memory, which the next message overwrites while
#: the system has not taken it.
_COPIED = 8192
#: Room before a message that picows writes the header into.
_HEADER = bytearray(14)
#: Bytes that one read takes at most: the buffer of picows grows while one fills it, for good.
_READ_SIZE = 32768
#: Takes what a client sends after it has broken the protocol: the buffer of picows would grow by
#: all that a loop reads until the connection is closed.
_DISCARDED = memoryview(bytearray(_READ_SIZE))
#: What picows does for every read. Finding it by super() takes as long as that itself.
_get_buffer = WSProtocol.get_buffer
_buffer_updated = WSProtocol.buffer_updated
#: Bytes that the buffer begins with, the least that picows allows.
_FIRST_BUFFER = 2048


class PicowsPipe(Pipe):
    """A WebSocket of picows as a transport."""

    __slots__ = ("ws",)

    ws: WSTransport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if len(data) <= _COPIED and not self._said_end:
            self.ws.send(_BINARY, data)  # the common case of _send(), without two calls
        else:
            super().write(data)

    def _send(self, piece: bytes | memoryview) -> None:
        if len(piece) <= _COPIED:
            self.ws.send(_BINARY, piece)
        else:
            self.ws.send_reuse_external_bytearray(_BINARY, _HEADER + piece, len(_HEADER))

    def _send_close(self, code: int, reason: str) -> None:
        self.ws.send_close(code, reason.encode())  # type: ignore[arg-type]

    def send_pong(self, payload: bytes) -> None:
        """Answer a ping, unless the client has not read the answers to those before it."""
        if self._raw.get_write_buffer_size() <= MOST_UNREAD:
            self.ws.send_pong(payload)


class Ears(WSListener):
    """Listens to the messages of one WebSocket, and checks what picows does not."""

    __slots__ = (
        "_addr",
        "_deaf",
        "_endpoint",
        "_fragmented",
        "_gathered",
        "_pipe",
        "_protocol",
        "_special",
    )

    def __init__(self, protocol: PicowsProtocol, pipe: PicowsPipe, addr: tuple[str, int]) -> None:
        self._protocol = protocol
        self._pipe = pipe
        self._endpoint = protocol.endpoint
        self._addr = addr
        #: Payloads of the read that is being parsed.
        self._gathered: list[bytes] = []
        #: Whether the last binary frame was not the last of its message.
        self._fragmented = False
        #: Whether what comes is ignored, since the connection is about to end.
        self._deaf = False
        #: Whether it is fragmented or deaf: one attribute to look at for each frame.
        self._special = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._pipe.ws = transport
        self._protocol.pipe = self._pipe
        self._endpoint.move(self._pipe, self._addr)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # Each attribute that is read here costs as much as parsing the frame does.
        if (
            frame.msg_type is not _BINARY
            or self._special
            or not frame.fin
            or frame.rsv1
            or frame.rsv2
            or frame.rsv3
        ):
            self._take_special(frame)
        elif not frame.last_in_buffer:
            # What came in one read is handled in one go: that is what makes batches cheap.
            self._gathered.append(frame.get_payload_as_bytes())
            return
        elif self._gathered:
            self._gathered.append(frame.get_payload_as_bytes())
        else:
            protocol = self._protocol
            protocol.below = frame.tail_size
            self._endpoint.feed(frame.get_payload_as_bytes())
            return
        if frame.last_in_buffer:
            self._protocol.below = frame.tail_size
            self._deliver()

    def _take_special(self, frame: WSFrame) -> None:
        """Take a frame that is not a whole binary message, or check one that follows such."""
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._refuse(1002, "a reserved bit is set")
        elif kind in (_BINARY, _CONTINUATION):
            self._take_part(frame, kind)
        elif kind == _TEXT:
            self._refuse(1003, "text is not understood, only binary messages are")
        elif kind == _PING:
            self._pipe.send_pong(frame.get_payload_as_bytes())
        elif kind == _CLOSE:
            self._deliver()
            self._pipe.client_closed()

    def _take_part(self, frame: WSFrame, kind: WSMsgType) -> None:
        if self._fragmented != (kind == _CONTINUATION):
            self._refuse(1002, "the parts of a message are out of order")
        if self._deaf:
            return
        self._special = self._fragmented = not frame.fin
        self._gathered.append(frame.get_payload_as_bytes())

    def _refuse(self, code: int, reason: str) -> None:
        """Take nothing that follows; what came before is handled first."""
        self._special = self._deaf = True
        self._protocol.refuse(code, reason)

    def _deliver(self) -> None:
        gathered = self._gathered
        if gathered:
            self._gathered = []
            self._endpoint.feed(b"".join(gathered))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The protocol tells the connection, of every end; this lets go of both."""
        del self._protocol, self._pipe, self._endpoint

    def pause_writing(self) -> None:
        self._endpoint.pause_writing()

    def resume_writing(self) -> None:
        self._endpoint.resume_writing()


class _Answering:
    """What picows keeps to have a request answered: until the end, or the two are a cycle."""

    __slots__ = ("protocol",)

    def __init__(self, protocol: PicowsProtocol) -> None:
        self.protocol: PicowsProtocol | None = protocol

    def __call__(self, asked: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        assert self.protocol is not None, "nothing is read after the end"
        return self.protocol._answer(asked)


class PicowsProtocol(WSProtocol):  # type: ignore[misc]
    """The protocol of picows for one connection.

    :ivar pipe: the transport that the connection writes to, once there is a WebSocket.
    :ivar below: bytes of a message that is not complete yet.
    :ivar ruling: how the request was answered.
    """

    __slots__ = (
        "_answering",
        "_front",
        "_log",
        "_made",
        "_raw",
        "_room",
        "_told",
        "below",
        "endpoint",
        "pipe",
        "ruling",
    )

    def __init__(self, front: Front, raw: asyncio.Transport, endpoint: Endpoint) -> None:
        self._log = Silence()
        self._answering = answering = _Answering(self)
        super().__init__(
            None,
            None,
            False,
            answering,
            self._log,
            True,
            None,  # the server has a time limit for all that comes before the hello
            False,
            None,
            None,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # the listener would not be told which frame is the last of a read
            front.options.max_frame,
            None,
            _FIRST_BUFFER,
        )
        self.endpoint = endpoint
        self.pipe: PicowsPipe | None = None
        self.ruling: Ruling | None = None
        self.below = 0
        self._made = False
        self._told = 0
        self._room = 0
        self._front = front
        self._raw = raw

    def refuse(self, code: int, reason: str) -> None:
        """The client has sent what it may not; said once what came before has been handled."""
        self._log.violate(code, reason)

    def _answer(self, asked: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        try:
            return self._rule(asked)
        except Exception as exc:
            self._log.fail(exc)
            failed = WSUpgradeResponse.create_error_response(500, b"the server has failed\n")
            return WSUpgradeResponseWithListener(failed, None)

    def _rule(self, asked: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        target = asked.path.decode("latin-1")
        request = HttpRequest(target, list(asked.headers.items()))
        self.ruling = ruling = self._front.judge(request)
        if ruling.status == 200:
            body = f"{ruling.text}\n".encode()
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(body), None)
        if not ruling.accepted:
            body = f"{ruling.text}\n".encode()
            refusal = WSUpgradeResponse.create_error_response(ruling.status, body)
            return WSUpgradeResponseWithListener(refusal, None)
        _simplify(asked)
        headers = {}
        if ruling.subprotocol is not None:
            headers["Sec-WebSocket-Protocol"] = ruling.subprotocol
        pipe = PicowsPipe(self._raw, self.endpoint, request)
        ears = Ears(self, pipe, self._front.address(request, self.endpoint))
        response = WSUpgradeResponse.create_101_response(extra_headers=headers)
        return WSUpgradeResponseWithListener(response, ears)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._made = True

    def get_buffer(self, size_hint: int) -> memoryview:
        if self._log.spoken:
            return _DISCARDED
        buffer: memoryview = _get_buffer(self, size_hint)
        if len(buffer) > _READ_SIZE:
            buffer = buffer[:_READ_SIZE]
        self._room = len(buffer)
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._log.spoken:
            return
        self.below = below = self.below + nbytes
        _buffer_updated(self, nbytes)
        if self._log.spoken:
            self._heed()
        # A part of a message costs no more than to be received, as one over TCP.
        if (nbytes >= MUCH or nbytes == self._room) and self.below != below:
            self.endpoint.take_turns(nbytes == self._room)
        if self.below != self._told:
            self._told = self.below
            self.endpoint.hold_below(self.below)

    def _heed(self) -> None:
        """End the connection for what picows has logged."""
        log, self.below = self._log, 0
        if log.failure is not None:
            self._front.failed(self.endpoint, log.failure)
        elif log.violation is not None and self.pipe is not None:
            self.pipe.violated(*log.violation)

    def eof_received(self) -> bool:
        return bool(self.endpoint.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._made:  # picows crashes the process otherwise
            super().connection_lost(exc)
        self.endpoint.connection_lost(exc)
        self._answering.protocol = self.pipe = None
        del self.endpoint  # on Python 3.10, an error of picows keeps this for longer


def _simplify(asked: WSUpgradeRequest) -> None:
    """``Connection: keep-alive, Upgrade`` is what some proxies send; picows knows one word only."""
    words = ",".join(asked.headers.getall("connection", [])).lower().split(",")
    if "upgrade" in (word.strip() for word in words):
        asked.headers["Connection"] = "Upgrade"


def open_websocket(
    front: Front, raw: asyncio.Transport, endpoint: Endpoint, data: bytes
) -> Ruling | None:
    """Take a connection over that began with this request.

    :returns: how it was answered; ``None`` where the request was not valid.
    """
    protocol = PicowsProtocol(front, raw, endpoint)
    raw.set_protocol(protocol)
    try:
        protocol.connection_made(raw)
    except OSError as exc:  # it sets options of the socket, which this one does not take
        front.failed(endpoint, exc)
        return None
    view = memoryview(data)
    while view and not raw.is_closing():
        buffer = protocol.get_buffer(-1)
        size = min(len(buffer), len(view))
        buffer[:size] = view[:size]
        buffer.release()
        protocol.buffer_updated(size)
        view = view[size:]
    ruling = protocol.ruling
    if ruling is not None and ruling.accepted and protocol.pipe is None:
        return None
    return ruling
