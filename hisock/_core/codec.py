"""Python values to message bytes and back.

Sending, the type of the value decides. ``bytes`` go as they are, ``str`` as UTF-8, ``int`` and
``float`` as their text, ``bool`` as ``true`` or ``false``, ``None`` as no message. Everything else
that msgspec can encode goes as JSON (or MessagePack, where both ends chose that codec).

Receiving, an annotation decides. It is turned into a :class:`Cast` once, when a handler is
registered, so that a message costs one call. Nothing received is ever evaluated.

A class of one's own takes part by having ``__json__(self)``, which returns something msgspec can
encode, and a class method ``__from_json__(cls, value)``.
"""

from __future__ import annotations

import enum
import functools
import types
import typing
from collections.abc import Callable
from typing import Any

import msgspec

_TEXT_ZEROS: dict[Any, Callable[[], Any]] = {
    bytes: bytes,
    str: str,
    int: int,
    float: float,
    bool: bool,
}
_CONTAINERS = (list, dict, tuple, set, frozenset)
# "\0" is bytes(True), which is what 2.0.2 puts on the wire for True; its False is no message.
_BOOLS = {b"true": True, b"True": True, b"1": True, b"\x00": True}
_BOOLS.update({b"false": False, b"False": False, b"0": False})


def _encode_hook(value: Any) -> Any:
    try:
        to_json = value.__json__
    except AttributeError:
        raise TypeError(f"objects of type {type(value).__name__} cannot be sent") from None
    return to_json()


def _decode_hook(kind: Any, value: Any) -> Any:
    try:
        from_json = kind.__from_json__
    except AttributeError:
        raise TypeError(f"objects of type {kind!r} cannot be received") from None
    return from_json(value)


class Codec:
    """How values that are not plain text are written: ``"json"`` or ``"msgpack"``."""

    __slots__ = ("_decoder_type", "_encoder", "cast_for", "name")

    def __init__(self, name: str, encoder_type: Any, decoder_type: Any) -> None:
        self.name = name
        self._encoder = encoder_type(enc_hook=_encode_hook).encode
        self._decoder_type = decoder_type
        #: ``cast_for(annotation)``: the :class:`Cast` of an annotation, remembered.
        self.cast_for = _remembered(functools.partial(_make_cast, self))

    def encode(self, content: Any) -> bytes | None:
        """The message bytes of a value; ``None`` when it stands for no message.

        :raises TypeError: the value cannot be encoded; nothing has been sent.
        """
        if content is None:
            return None
        text = _TEXT_ENCODERS.get(type(content)) or _text_subclass(content)
        try:
            if text is not None:
                return text(content)
            encoded: bytes = self._encoder(content)
            return encoded
        except Exception as exc:
            raise TypeError(
                f"cannot send a value of type {type(content).__name__}: {exc}; "
                "send bytes, str, int, float, bool, None or what msgspec can encode"
            ) from exc

    def decoder(self, kind: Any) -> Callable[[bytes], Any]:
        decode: Callable[[bytes], Any] = self._decoder_type(kind, dec_hook=_decode_hook).decode
        return decode


def _text_subclass(content: Any) -> Callable[[Any], bytes] | None:
    """A class derived from ``str`` or ``bytes`` is text too, unless it is an enum."""
    if isinstance(content, (str, bytes)) and not isinstance(content, enum.Enum):
        return str.encode if isinstance(content, str) else bytes
    return None


def _encode_bool(value: bool) -> bytes:
    return b"true" if value else b"false"


def _encode_text(value: Any) -> bytes:
    return str(value).encode()


_TEXT_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    bytes: bytes,
    bytearray: bytes,
    memoryview: bytes,
    str: str.encode,
    int: _encode_text,
    float: _encode_text,
    bool: _encode_bool,
}


class Cast:
    """What turns a message into a value of one type.

    :ivar type: the annotation it was made from.
    :ivar decode: from the bytes of a message that is not empty; ``None`` when they stay as they
        are. Raises some exception whose text is the reason.
    :ivar zero: makes the value that stands for no message; ``None`` when the type has none.
    """

    __slots__ = ("decode", "type", "zero")

    def __init__(
        self,
        annotation: Any,
        decode: Callable[[bytes], Any] | None,
        zero: Callable[[], Any] | None,
    ) -> None:
        self.type = annotation
        self.decode = decode
        self.zero = zero

    def empty(self) -> Any:
        """The value for no message.

        :raises ValueError: the type has no zero.
        """
        if self.zero is None:
            raise ValueError("there is no message, and the type has no empty value")
        return self.zero()

    def __call__(self, message: bytes | None) -> Any:
        """The value of a message, empty or not; raises what :attr:`decode` raises."""
        if not message:
            return self.empty()
        return message if self.decode is None else self.decode(message)


def _nothing() -> None:
    return None


def _decode_str(message: bytes) -> str:
    return message.decode("utf-8")


def _decode_int(message: bytes) -> int:
    try:
        return int(message)
    except ValueError:
        pass
    # 2.0.2 reads an int from what its peers send for a float or a bool too.
    if message in _BOOLS:
        return int(_BOOLS[message])
    try:
        return int(float(message))
    except (ValueError, OverflowError):
        raise ValueError(f"{_shown(message)} is not a whole number") from None


def _decode_float(message: bytes) -> float:
    try:
        return float(message)
    except ValueError:
        raise ValueError(f"{_shown(message)} is not a number") from None


def _decode_bool(message: bytes) -> bool:
    try:
        return _BOOLS[message]
    except KeyError:
        raise ValueError(f"{_shown(message)} is none of true, false, True, False, 1, 0") from None


def _shown(message: bytes) -> str:
    return repr(message) if len(message) <= 40 else f"{message[:40]!r}…"


_TEXT_DECODERS: dict[Any, Callable[[bytes], Any] | None] = {
    bytes: None,
    str: _decode_str,
    int: _decode_int,
    float: _decode_float,
    bool: _decode_bool,
}


def _make_cast(codec: Codec, annotation: Any) -> Cast:
    """The cast of an annotation.

    :raises TypeError: no message can be turned into that type.
    """
    if annotation is None or annotation is type(None):
        return Cast(annotation, None, _nothing)
    if annotation is Any or annotation is object:
        return Cast(annotation, None, _nothing)
    if annotation in _TEXT_DECODERS:
        return Cast(annotation, _TEXT_DECODERS[annotation], _TEXT_ZEROS[annotation])
    if isinstance(annotation, typing.NewType):
        return _renamed(codec.cast_for(annotation.__supertype__), annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _constrained(codec, annotation)
    if origin is typing.Union or origin is types.UnionType:
        return _make_union_cast(codec, annotation)
    return Cast(annotation, _structured(codec, annotation), _zero_of(annotation, origin))


def _renamed(cast: Cast, annotation: Any) -> Cast:
    return Cast(annotation, cast.decode, cast.zero)


def _zero_of(annotation: Any, origin: Any) -> Callable[[], Any] | None:
    kind = origin or annotation
    arguments = typing.get_args(annotation)
    if kind is tuple and arguments and arguments[-1] is not ...:
        return None  # of a fixed length
    return kind if kind in _CONTAINERS else None


def _constrained(codec: Codec, annotation: Any) -> Cast:
    """``Annotated[str, Meta(max_length=20)]``: read as the bare type, then checked by msgspec."""
    base = typing.get_args(annotation)[0]
    if base not in _TEXT_DECODERS:
        return Cast(annotation, _structured(codec, annotation), codec.cast_for(base).zero)
    bare = codec.cast_for(base)

    def decode(message: bytes) -> Any:
        return msgspec.convert(bare(message), annotation)

    return Cast(annotation, decode, bare.zero)


def _structured(codec: Codec, annotation: Any) -> Callable[[bytes], Any]:
    """Decode by the codec, and fall back on plain text for what has a textual form.

    A ``Literal["a", "b"]``, an enum of strings or a UUID is as often sent as the bare text ``a``
    as it is as the JSON string ``"a"``.
    """
    _require_supported(annotation)
    decode_structure = codec.decoder(annotation)
    if _is_container(annotation):
        return decode_structure

    def decode(message: bytes) -> Any:
        try:
            return decode_structure(message)
        except msgspec.ValidationError as exc:
            return _from_text(message, annotation, exc)
        except msgspec.DecodeError:
            return _from_text(message, annotation, None)

    return decode


def _from_text(message: bytes, annotation: Any, otherwise: Exception | None) -> Any:
    try:
        return msgspec.convert(message.decode(), annotation)
    except (msgspec.ValidationError, UnicodeDecodeError) as exc:
        raise otherwise or exc from None


def _is_container(annotation: Any) -> bool:
    kind = typing.get_origin(annotation) or annotation
    if not isinstance(kind, type):
        return False
    return issubclass(kind, (*_CONTAINERS, msgspec.Struct)) or hasattr(kind, "__dataclass_fields__")


def _require_supported(annotation: Any) -> None:
    try:
        info = msgspec.inspect.type_info(annotation)
    except Exception as exc:
        raise TypeError(f"{annotation!r} is not a type that a message can have: {exc}") from exc
    if isinstance(info, msgspec.inspect.CustomType) and not hasattr(info.cls, "__from_json__"):
        raise TypeError(
            f"{annotation!r} is not a type that a message can have; use one that msgspec knows, "
            "or give it a class method __from_json__(cls, value)"
        )


def _make_union_cast(codec: Codec, annotation: Any) -> Cast:
    members = [m for m in typing.get_args(annotation) if m is not type(None)]
    optional = len(members) < len(typing.get_args(annotation))
    texts = [m for m in members if m in _TEXT_DECODERS]
    others = [m for m in members if m not in _TEXT_DECODERS]
    # Anything is a str and anything is bytes, so those two are tried last.
    texts.sort(key=lambda member: (member is str) + 2 * (member is bytes))
    casts = []
    if len(others) == 1:
        casts.append(codec.cast_for(others[0]))
    elif others:
        together: Any = typing.Union[tuple(others)]  # noqa: UP007 - of a number not known here
        casts.append(Cast(together, _structured(codec, together), None))
    casts += [codec.cast_for(member) for member in texts]
    if optional:
        zero: Callable[[], Any] | None = _nothing
    else:
        zero = next((codec.cast_for(m).zero for m in members if codec.cast_for(m).zero), None)
    if len(casts) == 1:
        return Cast(annotation, casts[0].decode, zero)

    def decode(message: bytes) -> Any:
        reasons = []
        for cast in casts:
            try:
                return cast(message)
            except Exception as exc:
                reasons.append(str(exc))
        raise ValueError("; ".join(reasons))

    return Cast(annotation, decode, zero)


def _remembered(make: Callable[[Any], Cast]) -> Callable[[Any], Cast]:
    """Remember the casts of hashable annotations; ``recv`` asks for the same few again and again.

    Keyed by the type of the annotation too, or ``Literal[1]`` would be taken for ``Literal[True]``.
    """
    casts: dict[Any, Cast] = {}

    def cast_for(annotation: Any) -> Cast:
        try:
            key = (annotation, repr(annotation) if typing.get_args(annotation) else None)
            known = casts.get(key)
        except TypeError:
            return make(annotation)
        if known is None:
            if len(casts) >= 1024:
                casts.clear()
            known = casts[key] = make(annotation)
        return known

    return cast_for


JSON = Codec("json", msgspec.json.Encoder, msgspec.json.Decoder)
MSGPACK = Codec("msgpack", msgspec.msgpack.Encoder, msgspec.msgpack.Decoder)
CODECS = {codec.name: codec for codec in (JSON, MSGPACK)}


def find_codec(name: str) -> Codec:
    """The codec of that name.

    :raises ValueError: there is none.
    """
    try:
        return CODECS[name]
    except KeyError:
        raise ValueError(f"codec is one of {', '.join(CODECS)}, not {name!r}") from None
