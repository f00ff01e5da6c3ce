"""The ways between the bytes of a message and a handler; ``_messages.pyx`` is the compiled twin."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hisock._building_py import build_raw
from hisock._framing_common import LONGEST_FALSY, MOST_DIGITS, check_command, reject_message
from hisock._outbox_py import Outbox

_CALL = re.compile(
    rb"\$CALL\$([1-9][0-9]{0,%d})\$CMD\$(.*?)\$MSG\$(.+)" % (MOST_DIGITS - 1), re.DOTALL
)
_REPLY = re.compile(rb"\$REPLY\$([0-9]{1,%d})\$MSG\$" % MOST_DIGITS)


def encoder(
    write: Callable[[Any], bytes],
    direct: set[type],
    otherwise: Callable[[Any], bytes | None],
    settle: Callable[[Any, bytes], bytes],
    nulls: bool,
) -> Callable[[Any], bytes | None]:
    """Return what encodes a value: of a type that ``write`` knows, with one call of it.

    :param write: encodes a value of a type in ``direct`` as ``bytes``.
    :param otherwise: encodes all other values, and those that ``write`` refuses.
    :param settle: called with the value and its bytes if these are few, or perhaps not all.
    :param nulls: whether bytes that hold ``null`` may not be all.
    """

    def encode(content: Any, /) -> bytes | None:
        kind = type(content)
        if kind is bytes:
            return content  # type: ignore[no-any-return]  # it is bytes
        try:
            if kind is str:
                return content.encode()  # type: ignore[no-any-return]  # it is a str
            encoded = write(content) if kind in direct else None
        except Exception:
            encoded = None
        if encoded is None:
            return otherwise(content)
        # One byte (here "n") is found many times faster than four, by find() faster than with "in".
        if len(encoded) > LONGEST_FALSY and (
            not nulls or 110 not in encoded or encoded.find(b"null") < 0
        ):
            return encoded
        return settle(content, encoded)

    return encode


def handler_of_two(
    func: Callable[[Any, Any], Any],
    decode: Callable[[bytes], Any],
    recover: Callable[[bytes, Exception], Any],
) -> Callable[[Any, bytes], Any]:
    """Return ``call(client, message)``, which calls ``func`` with the value of the message.

    :param decode: from the bytes of a message to its value.
    :param recover: gets the bytes and the exception if that raises; returns the value or raises.
    """

    def call(client: Any, message: bytes, /) -> Any:
        try:
            value = decode(message)
        except Exception as exc:
            value = recover(message, exc)
        return func(client, value)

    return call


def handler_of_one(
    func: Callable[[Any], Any],
    decode: Callable[[bytes], Any],
    recover: Callable[[bytes, Exception], Any],
) -> Callable[[bytes], Any]:
    """Return ``call(message)``, otherwise the same."""

    def call(message: bytes, /) -> Any:
        try:
            value = decode(message)
        except Exception as exc:
            value = recover(message, exc)
        return func(value)

    return call


def split_call(payload: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return the number, command and message of a call, as bytes; ``None`` for one to parse.

    To be parsed with care are calls without a message or with a trace, and those that are none.
    """
    found = _CALL.fullmatch(payload)
    return None if found is None else found.groups()  # type: ignore[return-value]  # three of them


def send_reply(outbox: Outbox, number: bytes, message: bytes) -> bool:
    """Queue the reply to a call; ``False``, and nothing is counted, if the outbox takes nothing.

    :raises ValueError: a header has not enough digits for it.
    """
    if outbox.closed or outbox.refusing:
        return False
    return outbox.write(build_raw(b"$REPLY$%b$MSG$%b" % (number, message), outbox._header_len))


def split_reply(payload: bytes) -> tuple[int, bytes] | None:
    """Return the number and message of a reply; ``None`` for one to parse.

    To be parsed with care are errors, replies without a message, and those that are none.
    """
    found = _REPLY.match(payload)
    return None if found is None else (int(found[1]), payload[found.end() :])


def send_call(outbox: Outbox, number: int, command: str, message: bytes | None) -> bool:
    """Queue a call; ``False``, and nothing is counted, if the outbox takes nothing.

    :param number: from 0 to ``2**63 - 1``.
    :raises OverflowError: there is no such number.
    :raises ValueError: the command is not allowed, or a header has not enough digits for it.
    """
    if not 0 <= number < 2**63:
        raise OverflowError(f"the number of a call is not {number}")
    check_command(command)
    if message is not None and not isinstance(message, bytes):
        reject_message(message)
    if outbox.closed or outbox.refusing:
        return False
    payload = b"$CALL$%d$CMD$%b" % (number, command.encode())
    if message is not None:
        payload += b"$MSG$" + message
    return outbox.write(build_raw(payload, outbox._header_len))
