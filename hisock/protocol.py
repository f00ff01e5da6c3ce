"""What the reserved frames mean: how each is built, and what one that arrived says.

No sockets and no clock: payloads in, values out. A payload is what a frame holds behind its
header; the frames built here are whole.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal

import msgspec

from hisock.exceptions import ProtocolError
from hisock.framing import build_raw

HELLO: Final = b"$CLTHELLO$"
CLIENT_JOINED: Final = b"$CLTCONN$"
CLIENT_LEFT: Final = b"$CLTDISCONN$"
KEEPALIVE: Final = b"$KEEPALIVE$"
KEEPALIVE_ACK: Final = b"$KEEPACK$"
DISCONNECT: Final = b"$DISCONN$"
LEAVE: Final = b"$USRCLOSE$"
GET_CLIENT: Final = b"$GETCLT$"
CHANGE_NAME: Final = b"$CHNAME$"
CHANGE_GROUP: Final = b"$CHGROUP$"

#: The reserved names, each with whether data may follow it.
_RESERVED: Final = {
    HELLO: True,
    CLIENT_JOINED: True,
    CLIENT_LEFT: True,
    KEEPALIVE: False,
    KEEPALIVE_ACK: False,
    DISCONNECT: False,
    LEAVE: False,
    GET_CLIENT: True,
    CHANGE_NAME: True,
    CHANGE_GROUP: True,
}
_LONGEST: Final = max(map(len, _RESERVED))

#: What ``$GETCLT$`` is answered with when nobody has that name or address.
NO_SUCH_CLIENT: Final = "$NOEXIST$"


#: Names and groups are announced to everybody: a long one, sent once, would be multiplied.
MAX_NAME_LENGTH: Final = 1024
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_LENGTH)]


class Hello(msgspec.Struct, frozen=True):
    """The first thing a client says. Keys that are not known here are ignored."""

    name: Name | None = None
    group: Name | None = None


class WireClient(msgspec.Struct, frozen=True):
    """Client info as it travels. 2.0.2 breaks on any other key, and on an ``ip`` that is text."""

    ip: tuple[str, int]
    name: str | None
    group: str | None


_encode_json = msgspec.json.Encoder().encode
_decode_hello = msgspec.json.Decoder(Hello).decode
_decode_client = msgspec.json.Decoder(WireClient).decode


def split_reserved(payload: bytes) -> tuple[bytes, bytes] | None:
    """``(name, data)`` of a reserved frame, ``None`` for a raw one.

    :raises ProtocolError: data follows a name that takes none.
    """
    if payload[:1] != b"$":
        return None
    end = payload.find(b"$", 1, _LONGEST) + 1
    name = payload[:end]
    takes_data = _RESERVED.get(name)
    if takes_data is None:
        return None
    data = payload[end:]
    if data and not takes_data:
        raise ProtocolError(f"{name.decode()} takes no data, {len(data)} bytes follow it")
    return name, data


def build_reserved(name: bytes, data: bytes = b"", header_len: int = 16) -> bytes:
    """A whole reserved frame."""
    return build_raw(name + data, header_len)


def encode_name(name: str | None) -> bytes:
    """What follows ``$CHNAME$`` and ``$CHGROUP$``; nothing for the name joined with.

    :raises ValueError: it is longer than a name may be.
    """
    if name is not None and len(name) > MAX_NAME_LENGTH:
        raise ValueError(
            f"a name has at most {MAX_NAME_LENGTH} characters, this one has {len(name)}"
        )
    return (name or "").encode()


def build_hello(name: str | None, group: str | None, header_len: int) -> bytes:
    """The frame that a client says hello with.

    :raises ValueError: the name or the group is longer than a name may be.
    """
    encode_name(name)
    encode_name(group)
    return build_reserved(HELLO, _encode_json(Hello(name, group)), header_len)


def parse_hello(payload: bytes) -> Hello:
    """The hello in the first payload of a connection.

    :raises ProtocolError: it is something else, or its JSON is not what a hello holds.
    """
    if not payload.startswith(HELLO):
        shown = payload[:20].decode("ascii", "backslashreplace")
        raise ProtocolError(f"the first frame has to be a {HELLO.decode()}, not {shown!r}")
    try:
        return _decode_hello(payload[len(HELLO) :])
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolError(f"the hello is not the JSON it has to be: {exc}") from exc


def encode_client(addr: tuple[str, int], name: str | None, group: str | None) -> bytes:
    """Client info as the JSON that travels."""
    return _encode_json(WireClient(addr, name, group))


def parse_client(data: bytes) -> WireClient:
    """Client info out of an announcement.

    :raises ProtocolError: the JSON is not client info.
    """
    try:
        return _decode_client(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolError(f"the client info is not the JSON it has to be: {exc}") from exc


def parse_text(name: bytes, data: bytes) -> str:
    """The text behind ``$CHNAME$``, ``$CHGROUP$`` or ``$GETCLT$``.

    :raises ProtocolError: it is not UTF-8, or longer than a name may be.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise ProtocolError(f"what follows {name.decode()} is not UTF-8: {exc}") from exc
    if len(text) > MAX_NAME_LENGTH:
        raise ProtocolError(
            f"{name.decode()} takes at most {MAX_NAME_LENGTH} characters, not {len(text)}"
        )
    return text


def build_no_such_client(header_len: int) -> bytes:
    """The answer to a ``$GETCLT$`` that names nobody."""
    return build_raw(json.dumps({"traceback": NO_SUCH_CLIENT}).encode(), header_len)


class ClientAnswer(msgspec.Struct, frozen=True):
    """The answer to ``$GETCLT$``: client info, or the reason why there is none."""

    ip: tuple[str, int] | None = None
    name: str | None = None
    group: str | None = None
    traceback: str | None = None

    @property
    def client(self) -> WireClient | None:
        return None if self.ip is None else WireClient(self.ip, self.name, self.group)


_decode_answer = msgspec.json.Decoder(ClientAnswer).decode


def parse_client_answer(payload: bytes) -> ClientAnswer | None:
    """The answer to a ``$GETCLT$`` in a raw payload, ``None`` if that is something else."""
    try:
        answer = _decode_answer(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return answer if answer.ip is not None or answer.traceback is not None else None


Side = Literal["server", "client"]


def unexpected(name: bytes, side: Side) -> ProtocolError:
    """The error for a reserved frame that a peer may not send to this side."""
    return ProtocolError(f"a {side} is never sent {name.decode()} at this point")
