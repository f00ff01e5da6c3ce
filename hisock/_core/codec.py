"""Python values to message bytes and back.

Sending, the type of the value decides. ``bytes`` go as they are, ``str`` as UTF-8, ``int`` and
``float`` as their text, ``bool`` as ``true`` or ``false``, ``None`` as no message. Everything else
that msgspec can encode goes as JSON (or MessagePack, where both ends chose that codec); see
:mod:`hisock._core.hooks` for classes that it does not know.

Receiving, an annotation decides; see :mod:`hisock._core.casting`.
"""

from __future__ import annotations

import enum
import functools
import inspect
import json
from collections.abc import Callable
from types import NoneType
from typing import Any

import msgspec

from hisock._core.casting import Cast, make_cast, remembered
from hisock._core.hooks import DIRECT, decode_hook, encode_hook, stand_in
from hisock._core.protocol import NOT_JSON
from hisock.exceptions import InvalidTypeCast
from hisock.framing import encoder

__all__ = ["CODECS", "Cast", "Codec", "Falsy", "find_codec"]


class Falsy(bytes):
    """The message of ``0``, ``0.0``, ``False``, ``[]`` or ``{}``, for peers of this version.

    2.0.2 sends an empty message for each of them, and takes an empty one only: the text of
    ``False`` ends its server.
    """

    __slots__ = ()

    def suiting(self, modern: bool) -> bytes:
        """The message for a peer; ``modern`` unless it is one of 2.0.2."""
        return bytes(self) if modern else b""


_FALSY = frozenset({b"0", b"0.0", b"-0.0", b"false", b"[]", b"{}", b"\x90", b"\x80"})
_NULL = b"null"


class Codec:
    """How values that are not plain text are written.

    :ivar name: ``"json"`` or ``"msgpack"``.
    :ivar cast_for: ``cast_for(annotation)``, the :class:`Cast` of an annotation, remembered.
    :ivar encode: ``encode(content)``, the message bytes of a value; ``None`` when it stands for no
        message, a :class:`Falsy` where peers of 2.0.2 are sent something else. It raises
        :class:`InvalidTypeCast` if the value cannot be encoded; nothing has been sent then.
    """

    name: str

    def __init__(self) -> None:
        self.cast_for = remembered(functools.partial(make_cast, self))
        self.encode = self._encoder()

    def _encoder(self) -> Callable[[Any], bytes | None]:
        """What encodes a value: of types that msgspec knows, with one call of it."""
        return encoder(self.write, DIRECT, self._encode_any, self._settle, self.mends)

    def _encode_any(self, content: Any) -> bytes | None:
        if content is None:
            return None
        text = _TEXT_ENCODERS.get(type(content)) or _text_subclass(content)
        try:
            if text is not None:
                return text(content)
            return self._encode_structure(content)
        except Exception as exc:
            if inspect.iscoroutine(content):
                raise InvalidTypeCast(
                    f"cannot send the coroutine {content.__qualname__}(): it was not awaited; "
                    "await it, in a handler that is async def"
                ) from None
            raise InvalidTypeCast(
                f"cannot send a value of type {type(content).__name__}: {exc}; "
                "send bytes, str, int, float, bool, None or what msgspec can encode"
            ) from exc

    def encode_exactly(self, content: Any) -> bytes | None:
        """The message bytes for a peer that is known not to be one of 2.0.2.

        :raises InvalidTypeCast: the value cannot be encoded.
        """
        message = self.encode(content)
        return bytes(message) if type(message) is Falsy else message

    def _encode_structure(self, content: Any) -> bytes | None:
        instead = stand_in(type(content))
        if instead is not None:
            return self.encode(instead(content))
        try:
            encoded = self.write(content)
        except (TypeError, UnicodeEncodeError) as exc:
            return self.write_otherwise(content, exc)
        return self._settle(content, encoded)

    def _settle(self, content: Any, encoded: bytes) -> bytes:
        """The message of a structure that msgspec has encoded, which may not be all there is."""
        if self.mends and encoded.find(_NULL) >= 0:
            encoded = self.mend(content, encoded)
        return Falsy(encoded) if encoded in _FALSY else encoded

    #: Encodes a structure, with one call of msgspec.
    write: Callable[[Any], bytes]
    #: Whether what holds ``null`` has to be mended perhaps.
    mends = False

    def write_otherwise(self, content: Any, exc: Exception) -> bytes:
        """Encode a structure that :attr:`write` refused with ``exc``, or raise that."""
        raise exc

    def mend(self, content: Any, encoded: bytes) -> bytes:
        """What is sent in place of what msgspec has encoded, mostly the same."""
        raise NotImplementedError

    def decoder(self, kind: Any) -> Callable[[bytes], Any]:
        """What reads a structure of a type."""
        raise NotImplementedError

    def second_decoder(self, kind: Any) -> Callable[[bytes], Any] | None:
        """What reads structures that :meth:`decoder` refuses and 2.0.2 does not, if there are any.

        It raises :class:`ValueError` for those that nobody reads.
        """
        return None

    def decode_anything(self, message: bytes) -> Any:
        """What a message holds, by its look: a structure or a number, else text, else bytes."""
        raise NotImplementedError


def _decode_text(message: bytes) -> str | bytes:
    try:
        return message.decode()
    except UnicodeDecodeError:
        return message


class JSONCodec(Codec):
    """JSON; for what the standard has no form for, that of 2.0.2, which is Python's."""

    name = "json"

    write = staticmethod(msgspec.json.Encoder(enc_hook=encode_hook).encode)
    mends = True

    def write_otherwise(self, content: Any, exc: Exception) -> bytes:
        """As 2.0.2 writes it, with ``None`` and ``True`` as keys."""
        try:
            return _write_json_of_2_0_2(content)
        except Exception:
            raise exc from None

    def mend(self, content: Any, encoded: bytes) -> bytes:
        """With NaN and infinity as 2.0.2 writes them; msgspec writes ``null`` for both."""
        if not _may_hold_nan(content):
            return encoded
        encoded_there = _write_json_of_2_0_2(content)
        if b"NaN" in encoded_there or b"Infinity" in encoded_there:
            return encoded_there
        return encoded

    def decoder(self, kind: Any) -> Callable[[bytes], Any]:
        decode: Callable[[bytes], Any] = msgspec.json.Decoder(kind, dec_hook=decode_hook).decode
        return decode

    def second_decoder(self, kind: Any) -> Callable[[bytes], Any]:
        def decode(message: bytes) -> Any:
            value = json.loads(message.decode())
            return msgspec.convert(value, kind, dec_hook=decode_hook, str_keys=True)

        return decode

    def decode_anything(self, message: bytes) -> Any:
        try:
            return msgspec.json.decode(message)
        except NOT_JSON:
            if message[:1] not in (b"[", b"{"):
                return _decode_text(message)
        try:
            return json.loads(message)
        except (ValueError, RecursionError):
            return _decode_text(message)


def _may_hold_nan(content: Any) -> bool:
    """Whether a number in it may be NaN or infinity; if so, its bytes begin with 7F or FF."""
    try:
        packed = _write_msgpack(content)
    except Exception:
        return True
    return packed.find(b"\xcb\x7f") >= 0 or packed.find(b"\xcb\xff") >= 0


def _write_json_of_2_0_2(content: Any) -> bytes:
    """With NaN and infinity as numbers, and with ``None`` and ``True`` as keys."""
    try:
        plain = _plain(content)
    except TypeError:
        plain = content
    return json.dumps(plain, default=_plain, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=encode_hook, str_keys=True)


class MessagePackCodec(Codec):
    """MessagePack, which has a form for every number, and for bytes."""

    name = "msgpack"

    write = staticmethod(msgspec.msgpack.Encoder(enc_hook=encode_hook).encode)

    def _encode_structure(self, content: Any) -> bytes | None:
        if isinstance(content, enum.Enum) and isinstance(content.value, int):
            # As the number by itself would go; a peer that reads an enum cannot tell them apart.
            return str(content.value).encode()
        return super()._encode_structure(content)

    def decoder(self, kind: Any) -> Callable[[bytes], Any]:
        decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(kind, dec_hook=decode_hook).decode
        return decode

    def decode_anything(self, message: bytes) -> Any:
        try:
            if message[0] < 0x80:  # plain text, not a structure
                return msgspec.json.decode(message, type=int | float | bool)
            value = msgspec.msgpack.decode(message)
        except NOT_JSON:
            return _decode_text(message)
        # What could be a number or a bool is bytes: those are sent as text.
        return _decode_text(message) if isinstance(value, (int, float, NoneType)) else value


_write_msgpack = MessagePackCodec.write


# -- plain text


def _text_subclass(content: Any) -> Callable[[Any], bytes] | None:
    """A class derived from ``str``, ``bytes``, ``int`` or ``float`` is text too, but for enums."""
    if isinstance(content, enum.Enum):
        return None
    for kind in (str, bytes, int, float):
        if isinstance(content, kind):
            return lambda value: _TEXT_ENCODERS[kind](kind(value))
    return None


def _encode_bool(value: bool) -> bytes:
    return b"true" if value else Falsy(b"false")


def _encode_number(value: float) -> bytes:
    text = str(value).encode()
    return text if value else Falsy(text)


_TEXT_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    bytes: bytes,
    bytearray: bytes,
    memoryview: bytes,
    str: str.encode,
    int: _encode_number,
    float: _encode_number,
    bool: _encode_bool,
}


JSON = JSONCodec()
MSGPACK = MessagePackCodec()
CODECS: dict[str, Codec] = {codec.name: codec for codec in (JSON, MSGPACK)}


def find_codec(name: str) -> Codec:
    """The codec of that name.

    :raises ValueError: there is none.
    """
    try:
        return CODECS[name]
    except KeyError:
        raise ValueError(f"codec is one of {', '.join(CODECS)}, not {name!r}") from None
