"""The reserved frames: building and parsing them.

No sockets and no clock: parsers take payloads (frames without their headers) and return values;
builders return whole frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from hisock._core.reporting import one_line
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

# Not known to 2.0.2. Sent only to peers whose hello has the key "features".
SERVER_HELLO: Final = b"$SRVHELLO$"
REJECT: Final = b"$REJECT$"
CALL: Final = b"$CALL$"
REPLY: Final = b"$REPLY$"
CANCEL: Final = b"$CANCEL$"
GOAWAY: Final = b"$GOAWAY$"
SEND: Final = b"$SEND$"
ACKNOWLEDGE: Final = b"$ACK$"
STREAM: Final = b"$STREAM$"
PART: Final = b"$PART$"
MORE: Final = b"$MORE$"

#: What no handler of the program sees, and the other side waits for.
URGENT: Final = (KEEPALIVE, KEEPALIVE_ACK, REPLY, CANCEL, ACKNOWLEDGE, PART, MORE)
#: What changes who a client is.
CHANGES: Final = (CHANGE_NAME, CHANGE_GROUP)

#: The reserved names that nothing follows, and those that data may follow.
_BARE: Final = (KEEPALIVE, KEEPALIVE_ACK, DISCONNECT, LEAVE)
_WITH_DATA: Final = (
    *(HELLO, CLIENT_JOINED, CLIENT_LEFT, GET_CLIENT, CHANGE_NAME, CHANGE_GROUP, SERVER_HELLO),
    *(REJECT, CALL, REPLY, CANCEL, GOAWAY, SEND, ACKNOWLEDGE, STREAM, PART, MORE),
)
_RESERVED: Final = {**dict.fromkeys(_BARE, False), **dict.fromkeys(_WITH_DATA, True)}
_LONGEST: Final = max(map(len, _RESERVED))

#: Names and groups are announced to everybody: a long one, sent once, would be multiplied.
MAX_NAME_LENGTH: Final = 1024
_MAX_NAME_BYTES: Final = 4 * MAX_NAME_LENGTH
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_LENGTH)]
#: A name as received: peers of 2.0.2 may send a number.
_SentName = Name | int | None


def as_name(name: Any) -> str | None:
    """A name or a group as text; 2.0.2 takes whole numbers too.

    :raises TypeError: it is neither.
    """
    if name is None or isinstance(name, str):
        return name
    if isinstance(name, int):
        return str(name)
    raise TypeError(f"a name or a group is text, not {name!r}; give str(...) of it")


#: Bytes of a hello at most: name, group, token, and room for keys of later versions.
MAX_HELLO: Final = 64 * 1024
_LONGEST_SECRET: Final = 64
#: Features that a peer may list, and characters of each.
_MOST_FEATURES: Final = 64
_Feature = Annotated[str, msgspec.Meta(max_length=64)]
#: Bytes of the longest list of features that is remembered with the features in it.
_REMEMBERED: Final = 512
#: Seconds between keepalives at most; a longer interval is ignored.
_LONGEST_INTERVAL: Final = 86_400


class _SentHello(msgspec.Struct, frozen=True):
    """A hello as received. Keys that 2.0.2 does not know are parsed later, and leniently."""

    name: _SentName = None
    group: _SentName = None
    features: msgspec.Raw = msgspec.Raw()
    codec: msgspec.Raw = msgspec.Raw()
    token: msgspec.Raw = msgspec.Raw()
    admin: msgspec.Raw = msgspec.Raw()
    resume: msgspec.Raw = msgspec.Raw()


class Hello(NamedTuple):
    """The first frame of a client. Unknown keys are ignored.

    :ivar features: the features beyond 2.0.2 that both sides know; ``None`` for a peer of 2.0.2.
    :ivar codec: the name of its codec.
    :ivar token: the token for ``authenticate``.
    :ivar resume: the secret by which a reconnecting client is recognised.
    :ivar admin: the server's ``admin_token``, of a connection that is to administer it; ``None``
        for a client.
    """

    name: str | None = None
    group: str | None = None
    features: frozenset[str] | None = None
    codec: str | None = "json"
    token: str | None = None
    resume: str | None = None
    admin: str | None = None


class ServerHello(msgspec.Struct, frozen=True):
    """The first frame of a server to a client that has ``features``."""

    features: list[str]
    codec: str = "json"
    # Typed as Any, since an invalid value is ignored: the key is optional.
    keepalive: Any = None

    @property
    def keepalive_interval(self) -> float | None:
        """Seconds between the server's keepalives; ``None`` if it sends none."""
        interval = self.keepalive
        valid = type(interval) in (int, float) and 0 < interval < _LONGEST_INTERVAL
        return float(interval) if valid else None


class WireClient(msgspec.Struct, frozen=True):
    """Client info on the wire. 2.0.2 fails on any other key, and if ``ip`` is text."""

    ip: tuple[str, int]
    name: str | None
    group: str | None


class _SentClient(msgspec.Struct, frozen=True):
    """Client info as received."""

    ip: tuple[str, int]
    name: str | int | None
    group: str | int | None


#: The exceptions of msgspec for bytes that are not the expected JSON; the last for deep nesting.
NOT_JSON: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_encode_json = msgspec.json.Encoder().encode
_decode_hello = msgspec.json.Decoder(_SentHello).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_features = msgspec.json.Decoder(
    Annotated[list[_Feature], msgspec.Meta(max_length=_MOST_FEATURES)]
).decode
_decode_server_hello = msgspec.json.Decoder(ServerHello).decode
_decode_client = msgspec.json.Decoder(_SentClient).decode


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
    """The data of ``$CHNAME$`` and ``$CHGROUP$``; empty for the one that the client joined with.

    :raises ValueError: it is longer than ``MAX_NAME_LENGTH``.
    :raises TypeError: it is not text.
    """
    name = as_name(name)
    if name is not None and len(name) > MAX_NAME_LENGTH:
        raise ValueError(
            f"a name has at most {MAX_NAME_LENGTH} characters, this one has {len(name)}"
        )
    return (name or "").encode()


#: What this version knows: calls, being told why it is not let in, errors with code and data, that
#: nobody waits for a reply any more, what a client is called after each change, that a server which
#: stops is to be back soon, messages that are confirmed,
#: replies in parts, and the trace that a call belongs to.
FEATURES: Final = [
    "call",
    "reject",
    "errors",
    "cancel",
    "names",
    "goaway",
    "ack",
    "stream",
    "trace",
]
ALL_FEATURES: Final = frozenset(FEATURES)
#: One object for each set of features, so that connections share them.
_SETS: Final[dict[frozenset[str], frozenset[str]]] = {}


def build_hello(
    name: str | None,
    group: str | None,
    header_len: int,
    codec: str = "json",
    token: str | None = None,
    resume: str | None = None,
    admin: str | None = None,
) -> bytes:
    """Build a client's hello.

    :param resume: a secret of the client, the same on each of its connections: the server ends
        earlier connections with the same secret.
    :param admin: the server's ``admin_token``: not to join, but to administer it.
    :raises ValueError: the name or the group is longer than a name may be.
    """
    encode_name(name)
    encode_name(group)
    hello: dict[str, Any] = {"name": name, "group": group, "features": FEATURES}
    if codec != "json":
        hello["codec"] = codec
    if token is not None:
        hello["token"] = token
    if resume is not None:
        hello["resume"] = resume
    if admin is not None:
        hello["admin"] = admin
    return build_reserved(HELLO, _encode_json(hello), header_len)


def build_server_hello(
    codec: str, header_len: int, keepalive: float | None = None, more: Sequence[str] = ()
) -> bytes:
    """Build a server's hello.

    :param keepalive: seconds between its keepalives; ``None`` if it sends none.
    :param more: features for this peer alone.
    """
    hello: dict[str, Any] = {"features": [*FEATURES, *more], "codec": codec}
    if keepalive is not None:
        hello["keepalive"] = keepalive
    return build_reserved(SERVER_HELLO, _encode_json(hello), header_len)


def parse_server_hello(data: bytes) -> ServerHello:
    """Parse a server's hello.

    :raises ProtocolError: it is not the expected JSON.
    """
    try:
        return _decode_server_hello(data)
    except NOT_JSON as exc:
        raise ProtocolError(
            f"the server's hello is not the JSON it has to be: {one_line(exc)}"
        ) from None


def parse_hello(payload: bytes) -> Hello:
    """Parse the hello in the first payload of a connection.

    :raises ProtocolError: the payload is no hello, or its JSON is not as expected.
    """
    if not payload.startswith(HELLO):
        # The payload is not quoted: it may be the rest of a hello, with a token in it.
        raise ProtocolError(
            f"the first frame has to be a {HELLO.decode()}, and is something else; "
            "do both ends have the same header_len?"
        )
    if len(payload) > MAX_HELLO:
        raise ProtocolError(f"a hello has at most {MAX_HELLO} bytes, {len(payload)} came")
    try:
        sent = _decode_hello(payload[len(HELLO) :])
    except NOT_JSON as exc:
        raise ProtocolError(f"the hello is not the JSON it has to be: {one_line(exc)}") from None
    resume = _text(sent.resume)
    return Hello(
        as_name(sent.name),
        as_name(sent.group),
        _features(sent.features),
        _text(sent.codec) if sent.codec else "json",
        _text(sent.token),
        resume if resume and len(resume) <= _LONGEST_SECRET else None,
        (_text(sent.admin) or "") if sent.admin else None,
    )


def _text(raw: msgspec.Raw) -> str | None:
    """The text of a key of a hello; ``None`` if it is missing or not text."""
    if not raw:
        return None
    try:
        return _decode_text(raw)
    except NOT_JSON:
        return None


def _features(raw: msgspec.Raw) -> frozenset[str] | None:
    """The features that both sides know; ``None`` if the key is missing or not a list."""
    if not raw:
        return None
    sent = bytes(raw)
    return _same_features(sent) if len(sent) <= _REMEMBERED else _known_features(sent)


def _known_features(raw: bytes) -> frozenset[str] | None:
    if not raw.startswith(b"["):
        return None
    try:
        known = ALL_FEATURES.intersection(_decode_features(raw))
    except NOT_JSON:
        return frozenset()
    return _SETS.setdefault(known, known)


#: Peers of one version list the same features, which are parsed once for all of them.
_same_features = lru_cache(64)(_known_features)


def encode_client(addr: tuple[str, int], name: str | None, group: str | None) -> bytes:
    """Client info as the JSON of the protocol."""
    return _encode_json(WireClient(addr, name, group))


def parse_client(data: bytes) -> WireClient:
    """Client info out of an announcement.

    :raises ProtocolError: the JSON is not client info.
    """
    try:
        sent = _decode_client(data)
        return WireClient(sent.ip, as_name(sent.name), as_name(sent.group))
    except NOT_JSON as exc:
        raise ProtocolError(
            f"the client info is not the JSON it has to be: {one_line(exc)}"
        ) from None


def parse_question(data: bytes) -> str | None:
    """The name or address in a ``$GETCLT$``; ``None`` if it is too long for either.

    :raises ProtocolError: it is not UTF-8.
    """
    if len(data) > _MAX_NAME_BYTES:
        return None
    who = _decode_utf8(GET_CLIENT, data)
    return who if len(who) <= MAX_NAME_LENGTH else None


def parse_text(name: bytes, data: bytes) -> str:
    """The text in a ``$CHNAME$`` or ``$CHGROUP$``.

    :raises ProtocolError: it is not UTF-8, or longer than a name may be.
    """
    if len(data) <= _MAX_NAME_BYTES:
        text = _decode_utf8(name, data)
        if len(text) <= MAX_NAME_LENGTH:
            return text
    raise ProtocolError(
        f"{name.decode()} takes at most {MAX_NAME_LENGTH} characters, not {len(data)} bytes"
    )


def _decode_utf8(name: bytes, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise ProtocolError(f"what follows {name.decode()} is not UTF-8: {one_line(exc)}") from None


Side = Literal["server", "client"]


def unexpected(name: bytes, side: Side) -> ProtocolError:
    """The error for a reserved frame that a peer may not send to this side."""
    return ProtocolError(f"a {side} is never sent {name.decode()} at this point")
