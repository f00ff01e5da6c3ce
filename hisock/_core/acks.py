"""Messages that are confirmed: which ones are kept, and which have been handled already.

No sockets and no clock. A client numbers what it sends and keeps it until the server confirms the
number; the server remembers, for each client, up to which number it has handled.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

from hisock._core.call_frames import split_command
from hisock._core.protocol import ACKNOWLEDGE, SEND, build_reserved
from hisock.exceptions import ProtocolError
from hisock.framing import check_command

_CMD: Final = b"$CMD$"
_MSG: Final = b"$MSG$"
#: Digits of a number at most.
_DIGITS: Final = 20
#: Messages of a client that may be on their way, or handled behind one that is not, so that what a
#: server remembers of it is bounded.
MOST_AHEAD: Final = 65536


class Sent(NamedTuple):
    """A message that wants to be confirmed, as it came."""

    number: int
    command: str
    message: bytes | None


def build_sent(sent: Sent, header_len: int) -> bytes:
    """``$SEND$`` number ``$CMD$`` command [ ``$MSG$`` message ].

    :raises ValueError: the command is empty or holds a ``$...$`` pair.
    """
    check_command(sent.command)
    data = b"%d%b%b" % (sent.number, _CMD, sent.command.encode())
    if sent.message is not None:
        data += _MSG + sent.message
    return build_reserved(SEND, data, header_len)


def parse_sent(data: bytes) -> Sent:
    """What follows ``$SEND$``.

    :raises ProtocolError: it is no message with a number.
    """
    end = data.find(_CMD, 0, _DIGITS + len(_CMD))
    number = _number(data if end < 0 else data[:end])
    if end < 0:
        raise ProtocolError("a confirmed message holds its number and then $CMD$")
    return Sent(number, *split_command(data, end + len(_CMD), "message"))


def build_acknowledgement(number: int, header_len: int) -> bytes:
    """``$ACK$`` number: all up to this one has been handled."""
    return build_reserved(ACKNOWLEDGE, b"%d" % number, header_len)


def parse_acknowledgement(data: bytes) -> int:
    """The number behind ``$ACK$``.

    :raises ProtocolError: it is no number.
    """
    return _number(data)


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _DIGITS:
        raise ProtocolError(f"the number of a message is {digits[:_DIGITS]!r}, not digits")
    return int(digits)


class Unconfirmed:
    """What a client has sent and the server has not confirmed. From any thread.

    :param limit: bytes of frames to keep at most.
    :ivar lock: held for a few instructions at a time.
    """

    def __init__(self, limit: int, lock: AbstractContextManager[Any]) -> None:
        self._limit = limit
        self.lock = lock
        self._frames: dict[int, bytes] = {}
        self._size = 0
        self._last = 0
        self._confirmed = 0

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, command: str, message: bytes | None, header_len: int) -> None:
        """Number a message, and keep it until it is confirmed.

        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises BufferError: too much is kept already, or too many.
        """
        with self.lock:
            number = self._last + 1
            frame = build_sent(Sent(number, command, message), header_len)
            if self._size + len(frame) > self._limit:
                raise BufferError(
                    f"{self._size} bytes are not confirmed yet, and offline_buffer is {self._limit}"
                )
            if len(self._frames) >= MOST_AHEAD:
                raise BufferError(f"{MOST_AHEAD} messages are not confirmed yet")
            self._frames[number] = frame
            self._size += len(frame)
            self._last = number

    def after(self, number: int) -> tuple[int, bytes] | None:
        """The next message that is kept, with its number; ``None`` if there is none."""
        with self.lock:
            following = max(number, self._confirmed) + 1
            frame = self._frames.get(following)
            return None if frame is None else (following, frame)

    def confirm(self, number: int) -> None:
        """All up to this number is handled, and kept no longer.

        :raises ProtocolError: there is no such message.
        """
        with self.lock:
            if number > self._last:
                raise ProtocolError(f"message {number} is confirmed, and was never sent")
            while self._confirmed < number:
                self._confirmed += 1
                self._size -= len(self._frames.pop(self._confirmed))


class Progress:
    """How far the messages of one client have been handled.

    :ivar done: all up to this number has been.
    :ivar used: when it was used last.
    """

    __slots__ = ("_begun", "_dropped", "_early", "_observed", "done", "used")

    def __init__(self) -> None:
        self.done = 0
        self.used = 0.0
        self._begun = -1
        # Of those after `done`, one bit each: which have been handled, which were dropped, and
        # which observers of all frames have heard of.
        self._early = 0
        self._dropped = 0
        self._observed = 0

    def begin(self, number: int) -> bool:
        """A message has come; whether it is to be handled, as it has not been begun before.

        :raises ProtocolError: there is one between it and those that have come, or the first one
            that is not handled is too far behind.
        """
        if self._begun < 0:
            # Those before it were confirmed, by this server before it forgot them or by another.
            self._begun = self.done = max(number - 1, 0)
        if number <= self._begun:
            return self._begin_again(number)
        if number != self._begun + 1:
            raise ProtocolError(f"message {number} came where {self._begun + 1} should have")
        if number > self.done + MOST_AHEAD:
            raise ProtocolError(f"message {number} came while {self.done + 1} is not handled yet")
        self._begun = number
        return True

    def _begin_again(self, number: int) -> bool:
        bit = 1 << number - self.done - 1 if number > self.done else 0
        was_dropped = bool(self._dropped & bit)
        self._dropped &= ~bit
        return was_dropped

    def drop(self, number: int) -> None:
        """A message was dropped before its handler began: it is handled when it comes again."""
        self._dropped |= 1 << number - self.done - 1

    def observe(self, number: int) -> bool:
        """Whether observers hear of a message that is begun now: not of one that has come again."""
        bit = 1 << number - self.done - 1
        is_new = not self._observed & bit
        self._observed |= bit
        return is_new

    def miss(self, number: int) -> None:
        """An observer was dropped before it heard of a message."""
        if number > self.done:
            self._observed &= ~(1 << number - self.done - 1)

    @property
    def idle(self) -> bool:
        """Whether none is being handled of what has come."""
        after = self._begun - self.done
        return after <= 0 or self._early | self._dropped == (1 << after) - 1

    def end(self, number: int) -> None:
        """A message has been handled."""
        self._early |= 1 << number - self.done - 1
        count = (~self._early & (self._early + 1)).bit_length() - 1  # without a gap
        self.done += count
        self._early >>= count
        self._dropped >>= count
        self._observed >>= count


class Remembered:
    """The progress of many clients, by their secrets.

    :param most: clients to remember at most; the one that sent nothing for longest is forgotten.
    :param seconds: how long one is remembered that sends nothing.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._clients: OrderedDict[str, Progress] = OrderedDict()

    def __len__(self) -> int:
        return len(self._clients)

    def find(self, secret: str) -> Progress | None:
        """The progress of a client that is remembered."""
        return self._clients.get(secret)

    def of(self, secret: str, now: float) -> Progress:
        """The progress of a client."""
        progress = self._clients.get(secret)
        if progress is None:
            progress = self._clients[secret] = Progress()
            self._forget(now)
        else:
            self._clients.move_to_end(secret)
        progress.used = now
        return progress

    def _forget(self, now: float) -> None:
        """Forget those that are too many, or have sent nothing for too long."""
        clients = self._clients
        while len(clients) > 1:
            oldest = next(iter(clients.values()))
            if len(clients) <= self._most and oldest.used + self._seconds > now:
                return
            clients.popitem(last=False)
