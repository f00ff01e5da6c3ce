"""The frames of calls: a call, its reply, and its cancellation."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from hisock._core.protocol import (
    CALL,
    CANCEL,
    NOT_JSON,
    PART,
    REPLY,
    STREAM,
    build_reserved,
)
from hisock._core.reporting import one_line
from hisock._core.tracing import LENGTH, is_traceparent
from hisock.exceptions import ProtocolError
from hisock.framing import check_command


class Call(NamedTuple):
    """A command that expects a reply; the sender chose ``number`` to match the reply by.

    :ivar trace: the trace that it belongs to, see :mod:`hisock._core.tracing`.
    """

    number: int
    command: str
    message: bytes | None
    trace: str | None = None


class Reply(NamedTuple):
    """The reply to a call: what the handler returned, or what it raised.

    :ivar error: the text of the exception; ``None`` if there was none.
    :ivar code: the program's code of the error.
    :ivar data: the program's details of the error, encoded by the codec.
    """

    number: int
    message: bytes | None
    error: str | None = None
    code: str | int | None = None
    data: bytes | None = None


class _Error(msgspec.Struct, frozen=True):
    message: str
    code: str | int | None = None


_decode_error = msgspec.json.Decoder(_Error).decode
_encode_error = msgspec.json.Encoder().encode


#: Parts of a reply that may be on their way before the first ``$MORE$``.
FIRST_PARTS: Final = 16
#: Parts that each ``$MORE$`` lets come.
PARTS_PER_MORE: Final = 8

_MSG: Final = b"$MSG$"
_CMD: Final = b"$CMD$"
_TRC: Final = b"$TRC$"
_ERR: Final = b"$ERR$"
_EXC: Final = b"$EXC$"
#: Digits of a call's number at most; the sender is free to choose any number within that.
_NUMBER_DIGITS: Final = 20
#: Overhead in bytes of a reply at most, besides its message or error text.
REPLY_OVERHEAD: Final = len(REPLY) + _NUMBER_DIGITS + len(_ERR)


def build_call(call: Call, header_len: int, streams: bool = False) -> bytes:
    """``$CALL$`` number [ ``$TRC$`` trace ] ``$CMD$`` command [ ``$MSG$`` message ].

    :param streams: build ``$STREAM$`` instead: the reply is to come in parts.
    :raises ValueError: the command is empty or holds a ``$...$`` pair.
    """
    check_command(call.command)
    trace = b"" if call.trace is None else _TRC + call.trace.encode()
    data = b"%d%b%b%b" % (call.number, trace, _CMD, call.command.encode())
    if call.message is not None:
        data += _MSG + call.message
    return build_reserved(STREAM if streams else CALL, data, header_len)


def parse_call(data: bytes) -> Call:
    """What follows ``$CALL$`` or ``$STREAM$``.

    :raises ProtocolError: it is no call.
    """
    data, trace = _take_trace(data)
    end = data.find(_CMD, 0, _NUMBER_DIGITS + len(_CMD))
    if end < 0:
        raise ProtocolError("a call holds its number and then $CMD$")
    number = _number(data[:end], "call")
    return Call(number, *split_command(data, end + len(_CMD), "call"), trace)


def split_command(data: bytes, begin: int, what: str) -> tuple[str, bytes | None]:
    """The command and the message that are in ``data`` from ``begin`` on.

    Both may have megabytes, so they are copied once only, and looked at as bytes.

    :raises ProtocolError: the command is not valid.
    """
    mark = data.find(_MSG, begin)
    raw = data[begin:] if mark < 0 else data[begin:mark]
    try:
        command = raw.decode()
        if not raw or raw.rfind(b"$") - raw.find(b"$") > 1 or raw.endswith(b"$MSG"):
            check_command(command)
    except ValueError as exc:
        raise ProtocolError(f"the command of a {what} is not valid: {one_line(exc, 200)}") from None
    return command, None if mark < 0 else data[mark + len(_MSG) :]


def _take_trace(data: bytes) -> tuple[bytes, str | None]:
    """What follows ``$CALL$`` without the trace, and the trace; ``None`` for none that is valid."""
    begin = data.find(_TRC, 0, _NUMBER_DIGITS + len(_TRC))
    if begin < 0 or not data[:begin].isdigit():
        return data, None
    end = begin + len(_TRC) + LENGTH
    trace = data[begin + len(_TRC) : end].decode("ascii", "replace")
    return data[:begin] + data[end:], trace if is_traceparent(trace) else None


def build_part(number: int, message: bytes | None, header_len: int) -> bytes:
    """``$PART$`` number [ ``$MSG$`` message ]: one part of a reply."""
    data = b"%d" % number
    return build_reserved(PART, data if message is None else data + _MSG + message, header_len)


def parse_part(data: bytes) -> tuple[int, bytes | None]:
    """The number and the message that follow ``$PART$``.

    :raises ProtocolError: it is no part of a reply.
    """
    digits, separator, message = data.partition(_MSG)
    return _number(digits, "part"), message if separator else None


def parse_more(data: bytes) -> int:
    """The number that follows ``$MORE$``.

    :raises ProtocolError: it is no number.
    """
    return _number(data, "streamed call")


def build_reply(reply: Reply, header_len: int) -> bytes:
    """``$REPLY$`` number [ ``$MSG$`` message ], or ``$REPLY$`` number ``$ERR$`` text.

    An error with code or data is ``$REPLY$`` number ``$EXC$`` json [ ``$MSG$`` data ].
    """
    data = b"%d" % reply.number
    if reply.code is not None or reply.data is not None:
        error = _encode_error(_Error(reply.error or "", reply.code))
        # No dollar in it, so that the first $MSG$ is the one behind it.
        data += _EXC + error.replace(b"$", rb"\u0024")
        if reply.data is not None:
            data += _MSG + reply.data
    elif reply.error is not None:
        data += _ERR + reply.error.encode("utf-8", "backslashreplace")
    elif reply.message is not None:
        data += _MSG + reply.message
    return build_reserved(REPLY, data, header_len)


def parse_reply(data: bytes) -> Reply:
    """What follows ``$REPLY$``.

    :raises ProtocolError: it is no reply.
    """
    end = data.find(b"$", 0, _NUMBER_DIGITS + 1)
    if end < 0:
        return Reply(_number(data, "reply"), None)
    number, rest = _number(data[:end], "reply"), data[end:]
    if rest.startswith(_MSG):
        return Reply(number, rest[len(_MSG) :])
    if rest.startswith(_ERR):
        return Reply(number, None, rest[len(_ERR) :].decode("utf-8", "replace"))
    if rest.startswith(_EXC):
        return _parse_error(number, rest[len(_EXC) :])
    raise ProtocolError("a reply holds $MSG$, $ERR$ or $EXC$ behind its number, or nothing")


def _parse_error(number: int, data: bytes) -> Reply:
    text, separator, details = data.partition(_MSG)
    try:
        error = _decode_error(text)
    except NOT_JSON as exc:
        raise ProtocolError(
            f"the error in a reply is not the JSON it has to be: {one_line(exc)}"
        ) from None
    return Reply(number, None, error.message, error.code, details if separator else None)


def build_cancel(number: int, header_len: int) -> bytes:
    """``$CANCEL$`` number: the caller waits no longer."""
    return build_reserved(CANCEL, b"%d" % number, header_len)


def parse_cancel(data: bytes) -> int:
    """The number of the call that is cancelled.

    :raises ProtocolError: it is no number.
    """
    return _number(data, "cancelled call")


def _number(digits: bytes, what: str) -> int:
    if not digits.isdigit() or len(digits) > _NUMBER_DIGITS:
        raise ProtocolError(f"the number of a {what} is {digits[:_NUMBER_DIGITS]!r}, not digits")
    return int(digits)
