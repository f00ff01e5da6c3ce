"""What the load is made of: the message that is sent, and what counts as its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, Protocol

from hisock._core import call_frames, protocol
from hisock._core.reporting import one_line
from hisock.exceptions import ProtocolError
from hisock.framing import Frame, build_command

KindName = Literal["echo", "call", "room"]

#: What the server has to have for each kind of load; ``{0}`` is the command.
NEEDED: Final[dict[str, str]] = {
    "echo": """@server.on("{0}")
def echo(client, message: bytes):
    server.send_client(client, "{0}", message)""",
    "call": """@server.on("{0}")
def answer(client, message: bytes):
    return message""",
    "room": """@server.on("{0}")
def room(client, message: bytes):
    server.send_group(client, "{0}", message)""",
}

#: Digits of the number that each message begins with.
_DIGITS: Final = 12


class Refused(Exception):
    """The server answered with an error."""


class LoadKind(Protocol):
    """Builds messages, and reads answers, of one connection.

    :ivar fan_out: whether one message has an answer on each connection of a room.
    """

    fan_out: bool

    def build(self, number: int) -> bytes:
        """The frame of a message with a number."""

    def answered(self, frame: Frame) -> int | None:
        """The number that a frame answers; ``None`` if it is no answer.

        :raises Refused: the server's handler failed.
        """


class _Commands:
    """A command that comes back as it was sent: ``echo``, and ``room``."""

    def __init__(self, command: str, size: int, header_len: int, fan_out: bool) -> None:
        self.fan_out = fan_out
        self._command = command
        self._padding = b"." * max(0, size - _DIGITS)
        self._header_len = header_len

    def build(self, number: int) -> bytes:
        message = b"%0*d" % (_DIGITS, number) + self._padding
        return build_command(self._command, message, self._header_len)

    def answered(self, frame: Frame) -> int | None:
        command, message = frame
        if command != self._command or message is None or not message[:_DIGITS].isdigit():
            return None
        return int(message[:_DIGITS])


class _Calls:
    """A call, and the reply to it."""

    fan_out = False

    def __init__(self, command: str, size: int, header_len: int) -> None:
        self._command = command
        self._message = b"." * size
        self._header_len = header_len

    def build(self, number: int) -> bytes:
        call = call_frames.Call(number, self._command, self._message)
        return call_frames.build_call(call, self._header_len)

    def answered(self, frame: Frame) -> int | None:
        command, payload = frame
        if command is not None or payload is None or not payload.startswith(protocol.REPLY):
            return None
        try:
            reply = call_frames.parse_reply(payload[len(protocol.REPLY) :])
        except ProtocolError:
            return None
        if reply.error is not None:
            raise Refused(one_line(reply.error))
        return reply.number


def maker(kind: KindName, command: str, size: int, header_len: int) -> Callable[[], LoadKind]:
    """What makes the messages of each connection.

    :param size: bytes of a message; those that come back hold a number of 12 digits at least.
    """
    if kind == "call":
        return lambda: _Calls(command, size, header_len)
    return lambda: _Commands(command, size, header_len, kind == "room")
