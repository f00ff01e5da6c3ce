"""What is fuzzed: functions of bytes that raise when a promise is broken.

None needs a fuzzing engine, so that the suite runs the kept corpus through each of them
(``tests/reliability/test_fuzzing.py``) wherever it runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import enum
import logging
import math
import socket
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

import hisock
from fuzz import twins
from hisock._core import call_frames, client_answers, protocol
from hisock._core.binding import cast_message
from hisock._core.codec import CODECS
from hisock.exceptions import FramingError, InvalidTypeCast, ProtocolError
from hisock.framing import Decoder, build_command, build_raw

_SCRATCHES = {
    size: {name: core.Scratch(size) for name, core in twins.CORES.items()}
    for size in twins.SCRATCH_SIZES
}


class Broken(AssertionError):
    """A promise that does not hold."""


# -- the decoder


def decoder(data: bytes) -> None:
    """Both cores make the same of any stream in any pieces, and what they read can be sent again.

    The first four bytes choose header length, limit, buffer size and how many cuts there are; then
    comes a byte per cut, and the stream. A cut's lowest bit chooses how the piece is handed in.
    """
    plan, stream = data[:4].ljust(4, b"\0"), data[4:]
    header_len = twins.HEADER_LENS[plan[0] % len(twins.HEADER_LENS)]
    limit = twins.LIMITS[plan[1] % len(twins.LIMITS)]
    scratches = _SCRATCHES[twins.SCRATCH_SIZES[plan[2] % len(twins.SCRATCH_SIZES)]]
    cuts, stream = stream[: plan[3] % 16], stream[plan[3] % 16 :]
    steps = []
    for cut in cuts:
        steps.append((bool(cut & 1), stream[: cut >> 1]))
        stream = stream[cut >> 1 :]
    steps.append((bool(plan[3] & 16), stream))
    case = twins.Case(header_len, limit, tuple(steps))
    frames = twins.frames_of(twins.run(case, scratches))
    _sent_again(case, frames)


def _sent_again(case: twins.Case, frames: list[tuple[str | None, bytes | None]]) -> None:
    sent = b""
    for command, message in frames:
        if command is None:
            sent += build_raw(message or b"", case.header_len)
        elif command.endswith("$MSG"):
            return  # can be read, but not sent: see check_command()
        else:
            sent += build_command(command, message, case.header_len)
    if Decoder(case.header_len, case.limit).feed(sent) != frames:
        raise Broken(f"{frames} came out otherwise when sent again as {sent!r}")


# -- reserved frames


def hello(data: bytes) -> None:
    """Whatever follows a reserved name is taken apart, or refused with a ``ProtocolError``."""
    _parse(protocol.parse_hello, data)
    _parse(protocol.parse_hello, protocol.HELLO + data)
    _parse(protocol.split_reserved, data)
    _parse(protocol.parse_server_hello, data)
    _parse(client_answers.parse_client_answer, data)
    client = _parse(protocol.parse_client, data)
    if client is not None:
        again = protocol.encode_client(client.ip, client.name, client.group)
        _same(protocol.parse_client(again), client)
    text = _parse(lambda text: protocol.parse_text(protocol.CHANGE_NAME, text), data)
    if text is not None:
        _same(protocol.encode_name(text), data)
    call = _parse(call_frames.parse_call, data)
    if call is not None:
        _same(call_frames.parse_call(_data_of(call_frames.build_call(call, 16))), call)
    reply = _parse(call_frames.parse_reply, data)
    if reply is not None:
        _same(call_frames.parse_reply(_data_of(call_frames.build_reply(reply, 16))), reply)


def _parse(parse: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return parse(data)
    except ProtocolError as exc:
        if len(str(exc)) > 1000:
            raise Broken(f"an error of {len(str(exc))} characters") from exc
        return None


def _data_of(frame: bytes) -> bytes:
    ((_, payload),) = Decoder().feed(frame)
    found = protocol.split_reserved(payload or b"")
    if found is None:
        raise Broken(f"{frame!r} is no reserved frame")
    return found[1]


def _same(got: Any, wanted: Any) -> None:
    if got != wanted:
        raise Broken(f"{got!r}, not {wanted!r}")


# -- casting


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Move:
    x: int
    y: float
    by: str | None = None
    path: list[tuple[int, int]] = dataclasses.field(default_factory=list)


class Item(msgspec.Struct):
    name: str
    tags: set[str] = msgspec.field(default_factory=set)
    inside: list[Item] = []


ANNOTATIONS: tuple[Any, ...] = (
    bytes,
    str,
    int,
    float,
    bool,
    list,
    dict,
    None,
    str | None,
    int | bool,
    int | str | None,
    dict[str, list[int]],
    tuple[int, str, float],
    set[int],
    Move,
    Item,
    Item | Colour | None,
    Colour,
    Literal["a", "b"],
    uuid.UUID,
    datetime.datetime,
    decimal.Decimal,
    Annotated[str, msgspec.Meta(max_length=5)],
    Annotated[int, msgspec.Meta(ge=0, lt=10)],
    Any,
)


def casting(data: bytes) -> None:
    """A message becomes a value, or an ``InvalidTypeCast``; a value survives being sent again.

    The first byte chooses the type, the second the codec.
    """
    choice, message = data[:2].ljust(2, b"\0"), data[2:]
    annotation = ANNOTATIONS[choice[0] % len(ANNOTATIONS)]
    codec = CODECS["msgpack" if choice[1] & 1 else "json"]
    cast = codec.cast_for(annotation)
    try:
        value = cast_message("fuzzed", cast, message)
    except InvalidTypeCast as exc:
        str(exc)
        return
    # Text and bytes are sent as they are, and may be read as any other value: a digit as a number.
    if not _can_be_sent(value) or (annotation is Any and isinstance(value, str | bytes)):
        return
    sent = codec.encode(value)
    # An empty message is none; it stands for the type's zero.
    if sent and not _same_value(again := cast_message("fuzzed", cast, sent), value):
        raise Broken(f"{annotation}: {value!r} was sent as {sent!r} and came as {again!r}")


def _can_be_sent(value: Any) -> bool:
    """Whether a value has one form on the wire. Text that is not UTF-8 cannot even be received."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 10**4000  # the interpreter's own limit on digits
    # A union tries its members in turn, and a float without a fraction is taken for an int.
    return not isinstance(value, float) or math.isfinite(value)


def _same_value(one: Any, other: Any) -> bool:
    return bool(one == other) or (one != one and other != other)


# -- a whole server


class _Complaints(logging.Handler):
    """Collects what a server must never log: errors outside of handlers."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class _Server:
    """A server with a handler of every kind, and a client beside the fuzzed ones."""

    def __init__(self) -> None:
        self.complaints = _Complaints()
        for name in ("asyncio", "hisock.server"):
            logging.getLogger(name).addHandler(self.complaints)
            logging.getLogger(name).propagate = False
        self.server = hisock.ThreadedHiSockServer(("127.0.0.1", 0), max_message_size=4096)
        server = self.server

        @server.on("echo")
        def echo(client: hisock.ClientInfo, message: bytes) -> bytes:
            server.send_client(client, "echo", message)
            return message

        @server.on("later")
        async def later(client: hisock.ClientInfo, message: bytes) -> bytes:
            return message

        @server.on("join")
        def join(client: hisock.ClientInfo) -> None:
            server.join_room(client, "everybody")

        @server.on("leave")
        def leave(client: hisock.ClientInfo) -> None:
            server.send_room("everybody", "gone", client.name)

        @server.on("name_change")
        def name_change(client: hisock.ClientInfo, old: str, new: str) -> None:
            server.send_all_clients("renamed", [old, new])

        @server.on("*")
        def anything(client: hisock.ClientInfo, command: str, message: bytes) -> None:
            server.send_group(client.group or "", "anything", command)

        server.start()
        self.steady = self._connect(build_raw(protocol.HELLO + b'{"name": "steady"}'))
        self.decoder = Decoder()
        self.asked = 0
        self.check()

    def _connect(self, first: bytes) -> socket.socket:
        sock = socket.create_connection(self.server.addr, timeout=10)
        sock.sendall(first)
        return sock

    def fuzz(self, data: bytes) -> None:
        """One connection that sends this and then no more, and reads until it is closed."""
        with self._connect(b"") as sock, contextlib.suppress(ConnectionError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            answers = Decoder()
            with contextlib.suppress(FramingError):
                while received := sock.recv(65536):
                    answers.feed(received)
            if answers.error is not None:
                raise Broken(f"the server answered with what is no frame: {answers.error}")
        self.check()

    def check(self) -> None:
        """The steady client is still answered, and nothing went wrong."""
        self.asked += 1
        wanted = ("echo", b"%d" % self.asked)
        self.steady.sendall(build_command(*wanted))
        while wanted not in self.decoder.feed(self.steady.recv(65536)):
            pass
        if self.complaints.records:
            record = self.complaints.records.pop()
            raise Broken(f"the server logged: {record.getMessage()}") from (
                record.exc_info[1] if record.exc_info else None
            )

    def close(self) -> None:
        self.steady.close()
        self.server.close()
        for name in ("asyncio", "hisock.server"):
            logging.getLogger(name).removeHandler(self.complaints)
            logging.getLogger(name).propagate = True


_server: _Server | None = None


def server(data: bytes) -> None:
    """A server survives any connection: others are answered, and nothing unexpected is logged.

    With an even first byte the connection says a correct hello first.
    """
    global _server
    if _server is None:
        _server = _Server()
    joins = data[:1] and data[0] % 2 == 0
    try:
        _server.fuzz((_HELLO if joins else b"") + data[1:])
    except BaseException:
        close_server()
        raise


def close_server() -> None:
    """Close the server behind :func:`server`; the next call makes another."""
    global _server
    if _server is not None:
        _server.close()
        _server = None


_HELLO = build_raw(protocol.HELLO + b'{"name": "fuzz", "group": "f", "features": ["call"]}')

TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (decoder, hello, casting, server)
}
