"""WebSockets by the protocol without I/O of websockets: for all platforms, and for Unix sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from hisock._core.http import HttpRequest
from hisock._websocket.handshake import SUBPROTOCOL, Ruling
from hisock._websocket.pipe import MOST_UNREAD, MUCH, Endpoint, Pipe

if TYPE_CHECKING:
    from hisock._websocket.front import Front

#: Says nothing: the server logs what is wrong, as often as it logs such things.
_SILENCE = logging.Logger("hisock.websockets", logging.CRITICAL + 1)
#: What all connections receive into. It is small, because websockets takes ten times as long for a
#: message as the rest of the way, and others wait for all that one read brings.
_BUFFER = memoryview(bytearray(MUCH))
#: The first byte of an answer to a ping, which is always one whole frame.
_PONG = 0x80 | Opcode.PONG


def _select_subprotocol(ws: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Ours, if it is offered; a client that offers none is served as well."""
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None


class WebsocketsPipe(Pipe):
    """A WebSocket of websockets as a transport."""

    def __init__(self, protocol: WebsocketsProtocol, request: HttpRequest) -> None:
        super().__init__(protocol.raw, protocol.endpoint, request)
        self._protocol = protocol
        self._ws = protocol.ws

    def _send(self, piece: bytes | memoryview) -> None:
        if self._ws.state is State.OPEN:
            self._ws.send_binary(piece)
            self._protocol.flush()

    def _send_close(self, code: int, reason: str) -> None:
        if self._ws.state is State.OPEN:
            self._ws.send_close(code, reason)
            self._protocol.flush()


class WebsocketsProtocol(asyncio.BufferedProtocol):
    """Bytes of one connection to websockets, and its bytes back.

    :ivar ws: the protocol of websockets.
    :ivar ruling: how the request was answered; ``None`` as long as it is not valid.
    """

    def __init__(self, front: Front, raw: asyncio.Transport, endpoint: Endpoint) -> None:
        self.raw = raw
        self.endpoint = endpoint
        self.ruling: Ruling | None = None
        self.ws = ServerProtocol(
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            select_subprotocol=_select_subprotocol,
            max_size=front.options.max_frame,
            logger=_SILENCE,
        )
        self._front = front
        self._pipe: WebsocketsPipe | None = None
        self._below = 0
        #: Whether the last read has brought a frame, or the end of one.
        self._heard = False

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.take(bytes(_BUFFER[:nbytes]))
        # A part of a message costs no more than to be received, as one over TCP.
        if nbytes == len(_BUFFER) and self._heard:
            self.endpoint.take_turns(True)

    def take(self, data: bytes) -> None:
        """Take what has come of the connection."""
        try:
            self._take(data)
        except Exception as exc:
            self._front.failed(self.endpoint, exc)

    def _take(self, data: bytes) -> None:
        self.ws.receive_data(data)
        self._handle_events()
        self.flush()
        wrong = self.ws.parser_exc
        if wrong is not None and self._pipe is not None:
            code = 1009 if isinstance(wrong, PayloadTooBig) else 1002
            self._pipe.violated(code, str(wrong))
            return
        below = len(self.ws.reader.buffer)
        if below != self._below:
            self._below = below
            self.endpoint.hold_below(below)

    def _handle_events(self) -> None:
        payloads = []
        closed = False
        events = self.ws.events_received()
        self._heard = bool(events)
        for event in events:
            if isinstance(event, Request):
                self._answer(event)
            elif isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                payloads.append(event.data)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._refuse_text(payloads)
                return
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                closed = True
        if payloads:
            # What came in one read is handled in one go: that is what makes batches cheap.
            data = payloads[0] if len(payloads) == 1 else b"".join(payloads)
            self.endpoint.feed(data)
        if closed and self._pipe is not None:
            self.flush()
            self._pipe.client_closed()

    def _refuse_text(self, payloads: list[bytes | bytearray | memoryview]) -> None:
        reason = "text is not understood, only binary messages are"
        self.endpoint.feed(b"".join(payloads))
        if self._pipe is not None:
            self._pipe.explain("protocol", reason)
            self.ws.fail(1003, reason)
            self._pipe.violated(1003, reason)

    def _answer(self, asked: Request) -> None:
        request = HttpRequest(asked.path, list(asked.headers.raw_items()))
        ruling = self._front.judge(request)
        if not ruling.accepted:
            self.ruling = ruling
            self.ws.send_response(self.ws.reject(ruling.status, f"{ruling.text}\n"))
            return
        response: Response = self.ws.accept(asked)
        self.ws.send_response(response)
        if response.status_code != ruling.status:
            return  # websockets has found something wrong with it
        self.ruling = ruling
        self.flush()
        self._pipe = WebsocketsPipe(self, request)
        self.endpoint.move(self._pipe, self._front.address(request, self.endpoint))

    def flush(self) -> None:
        """Write what websockets has to send; nothing, as bytes, is the end of the stream."""
        for chunk in self.ws.data_to_send():
            if self.raw.is_closing():
                pass  # asyncio logs a line for each write to a client that has gone
            elif chunk and chunk[0] == _PONG and self._is_far_behind():
                pass  # websockets answers every ping, read or unread
            elif chunk:
                self.raw.write(chunk)
            elif self.raw.can_write_eof():
                self.raw.write_eof()
            else:
                self.raw.close()

    def _is_far_behind(self) -> bool:
        return self.raw.get_write_buffer_size() > MOST_UNREAD

    def eof_received(self) -> bool | None:
        return self.endpoint.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.endpoint.connection_lost(exc)
        self._pipe = None  # each refers to the other
        del self.endpoint  # on Python 3.12, an error of websockets keeps this for longer

    def pause_writing(self) -> None:
        self.endpoint.pause_writing()

    def resume_writing(self) -> None:
        self.endpoint.resume_writing()


def open_websocket(
    front: Front, raw: asyncio.Transport, endpoint: Endpoint, data: bytes
) -> Ruling | None:
    """Take a connection over that began with this request.

    :returns: how it was answered; ``None`` where the request was not valid.
    """
    protocol = WebsocketsProtocol(front, raw, endpoint)
    raw.set_protocol(protocol)
    # websockets parses what follows a request before that is answered: an error in it would be
    # written ahead of the answer.
    head, end, rest = data.partition(b"\r\n\r\n")
    protocol.take(head + end)
    ruling = protocol.ruling
    if rest and ruling is not None and ruling.accepted:
        protocol.take(rest)
    return ruling
