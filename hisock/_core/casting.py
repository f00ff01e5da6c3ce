"""From the bytes of a message to a value of the type that an annotation names.

The annotation is turned into a :class:`Cast` once, when a handler is registered, so that a message
costs one call. Nothing received is ever evaluated.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from hisock._core.hooks import can_decode, hook_of
from hisock._core.plain_text import DECODERS, UNION_ORDER, ZEROS, decode_whole

_CONTAINERS = (list, dict, tuple, set, frozenset)


def _nothing() -> None:
    return None


class Structures(Protocol):
    """What reads messages that are structures: a :class:`hisock._core.codec.Codec`."""

    def decoder(self, kind: Any) -> Callable[[bytes], Any]: ...

    def second_decoder(self, kind: Any) -> Callable[[bytes], Any] | None: ...

    def decode_anything(self, message: bytes) -> Any: ...

    def cast_for(self, annotation: Any) -> Cast: ...


class Cast:
    """What turns a message into a value of one type.

    :ivar type: the annotation it was made from.
    :ivar decode: from the bytes of a message that is not empty; ``None`` when they stay as they
        are. Raises some exception whose text is the reason.
    :ivar zero: makes the value that stands for no message; ``None`` when the type has none.
    :ivar second: decodes what ``decode`` refuses and peers of 2.0.2 send; ``None`` for nothing.
    """

    __slots__ = ("decode", "second", "type", "zero")

    def __init__(
        self,
        annotation: Any,
        decode: Callable[[bytes], Any] | None,
        zero: Callable[[], Any] | None,
        second: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.type = annotation
        self.decode = decode
        self.zero = zero
        self.second = second

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
        if self.decode is None:
            return message
        try:
            return self.decode(message)
        except Exception as exc:
            return self.recover(message, exc)

    def recover(self, message: bytes, exc: Exception) -> Any:
        """The value of a message that :attr:`decode` refused with ``exc``; raises that if none."""
        # A value of the wrong type stays one, but for numbers that only Python takes for infinity.
        refused = isinstance(exc, msgspec.ValidationError) and "out of range" not in str(exc)
        if self.second is None or refused or not isinstance(exc, msgspec.DecodeError):
            raise exc
        try:
            return self.second(message)
        except msgspec.ValidationError:
            raise
        except ValueError:
            raise exc from None


# -- from annotations


def make_cast(codec: Structures, annotation: Any) -> Cast:
    """The cast of an annotation.

    :raises TypeError: no message can be turned into that type.
    """
    if annotation is None or annotation is type(None):
        return Cast(annotation, None, _nothing)
    if annotation is Any or annotation is object:
        return Cast(annotation, codec.decode_anything, _nothing)
    if _is_text(annotation):
        return Cast(annotation, DECODERS[annotation], ZEROS[annotation])
    if isinstance(annotation, typing.NewType):
        inner = _strict(codec, annotation.__supertype__)
        return Cast(annotation, inner.decode, inner.zero)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _constrained(codec, annotation)
    if origin is typing.Union or origin is types.UnionType:
        return _make_union_cast(codec, annotation)
    decode = _hooked(codec, annotation) or _structured(codec, annotation)
    second = codec.second_decoder(annotation) if _is_container(annotation) else None
    return Cast(annotation, decode, _zero_of(annotation, origin), second)


def _is_text(annotation: Any) -> bool:
    return isinstance(annotation, type) and annotation in DECODERS


def _strict(codec: Structures, annotation: Any) -> Cast:
    """The cast of a part of an annotation: only ``int`` by itself takes the text of a float."""
    if annotation is int:
        return Cast(int, decode_whole, int)
    return codec.cast_for(annotation)


def _zero_of(annotation: Any, origin: Any) -> Callable[[], Any] | None:
    kind = origin or annotation
    arguments = typing.get_args(annotation)
    if kind is tuple and arguments and arguments[-1] is not ...:
        return None  # of a fixed length
    return kind if kind in _CONTAINERS else None


def _constrained(codec: Structures, annotation: Any) -> Cast:
    """``Annotated[str, Meta(max_length=20)]``: read as the bare type, then checked by msgspec."""
    base = typing.get_args(annotation)[0]
    bare = _strict(codec, base)
    zero = _allowed(bare.zero, annotation)
    if not _is_text(base):
        second = codec.second_decoder(annotation)
        return Cast(annotation, _structured(codec, annotation), zero, second)

    def decode(message: bytes) -> Any:
        return msgspec.convert(bare(message), annotation)

    return Cast(annotation, decode, zero)


def _allowed(zero: Callable[[], Any] | None, annotation: Any) -> Callable[[], Any] | None:
    """The zero of a type, unless the limits in its annotation forbid it."""
    if zero is None:
        return None
    try:
        msgspec.convert(zero(), annotation)
    except msgspec.ValidationError:
        return None
    return zero


def _hooked(codec: Structures, annotation: Any) -> Callable[[bytes], Any] | None:
    """How a class is decoded that msgspec does not know, ``None`` for others."""
    kind = typing.get_origin(annotation) or annotation
    if not isinstance(kind, type) or not _is_custom(annotation) or not can_decode(kind):
        return None
    hook = hook_of(kind)
    assert hook is not None
    inner, make = _strict(codec, hook.wire), hook.decode
    return lambda message: make(annotation, inner(message))


def _is_custom(annotation: Any) -> bool:
    try:
        return isinstance(msgspec.inspect.type_info(annotation), msgspec.inspect.CustomType)
    except Exception:
        return True


def _structured(codec: Structures, annotation: Any) -> Callable[[bytes], Any]:
    """Decode by the codec, and fall back on plain text for what has a textual form.

    A ``Literal["a", "b"]``, an enum of strings or a UUID is as often sent as the bare text ``a``
    as it is as the JSON string ``"a"``.
    """
    _require_supported(annotation)
    decode_structure = codec.decoder(annotation)
    if _is_container(annotation):
        return decode_structure
    if typing.get_origin(annotation) is typing.Literal or _is_int_enum(annotation):
        return _decode_plain_first(annotation, decode_structure)

    def decode(message: bytes) -> Any:
        try:
            return decode_structure(message)
        except msgspec.ValidationError as exc:
            return _from_text(message, annotation, exc)
        except msgspec.DecodeError:
            return _from_text(message, annotation, None)

    return decode


def _decode_plain_first(
    annotation: Any, decode_structure: Callable[[bytes], Any]
) -> Callable[[bytes], Any]:
    """Decode what is sent as plain text with either codec: the members of a ``Literal``, and ints.

    MessagePack would read the text ``1`` as the number 49.
    """

    def decode(message: bytes) -> Any:
        try:
            return msgspec.convert(message.decode(), annotation, strict=False)
        except (msgspec.ValidationError, UnicodeDecodeError):
            return decode_structure(message)

    return decode


def _is_int_enum(annotation: Any) -> bool:
    if not isinstance(annotation, type) or not issubclass(annotation, enum.Enum):
        return False
    return all(isinstance(member.value, int) for member in annotation)


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
    for part in _parts_of(info):
        if isinstance(part, msgspec.inspect.CustomType) and not can_decode(part.cls):
            raise TypeError(
                f"{part.cls!r} is not a type that a message can have; use one that msgspec knows, "
                "give it a class method __from_json__(cls, value), or register it with "
                "hisock.codec.register()"
            )


def _parts_of(info: Any) -> Iterator[Any]:
    """A type and those of its members; fields of classes may be left out of a message."""
    yield info
    for name in ("item_type", "key_type", "value_type"):
        if hasattr(info, name):
            yield from _parts_of(getattr(info, name))
    for name in ("item_types", "types"):
        for member in getattr(info, name, ()):
            yield from _parts_of(member)


def _make_union_cast(codec: Structures, annotation: Any) -> Cast:
    members = [m for m in typing.get_args(annotation) if m is not type(None)]
    optional = len(members) < len(typing.get_args(annotation))
    casts = [_strict(codec, text) for text in UNION_ORDER if text in members]
    others = [m for m in members if not _is_text(m)]
    if others:
        casts.insert(0, _cast_together(codec, others))
    if optional:
        zero: Callable[[], Any] | None = _nothing
    else:
        zero = next((codec.cast_for(m).zero for m in members if codec.cast_for(m).zero), None)
    if len(casts) == 1:
        return Cast(annotation, casts[0].decode, zero, casts[0].second)

    def decode(message: bytes) -> Any:
        reasons = []
        for cast in casts:
            try:
                return cast(message)
            except Exception as exc:
                reasons.append(str(exc))
        raise ValueError("; ".join(reasons))

    return Cast(annotation, decode, zero)


def _cast_together(codec: Structures, members: list[Any]) -> Cast:
    if len(members) == 1:
        return codec.cast_for(members[0])
    together: Any = typing.Union[tuple(members)]  # noqa: UP007 - of a number not known here
    return Cast(together, _structured(codec, together), None, codec.second_decoder(together))


# -- remembered


_memories: list[dict[Any, Cast]] = []


def remembered(make: Callable[[Any], Cast]) -> Callable[[Any], Cast]:
    """Remember the casts of hashable annotations; ``recv`` asks for the same few again and again.

    Keyed by the text of the annotation too, or ``Literal[1]`` would be taken for ``Literal[True]``.
    """
    casts: dict[Any, Cast] = {}
    _memories.append(casts)

    def cast_for(annotation: Any) -> Cast:
        if type(annotation) is type and (known := casts.get(annotation)) is not None:
            return known
        try:
            key = (annotation, repr(annotation) if typing.get_args(annotation) else None)
            known = casts.get(key)
        except TypeError:
            return make(annotation)
        if known is None:
            if len(casts) >= 1024:
                casts.clear()
            known = casts[key] = make(annotation)
            if type(annotation) is type:
                casts[annotation] = known
        return known

    return cast_for


def forget_casts() -> None:
    """Make casts anew: there is a new way to make values of some class."""
    for casts in _memories:
        casts.clear()
