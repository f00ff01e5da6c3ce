"""Encoding and decoding of classes that msgspec does not support.

A class is supported if it is registered, or if it has ``__json__`` and ``__from_json__``. Models of
pydantic and arrays of numpy are supported without that. Neither package is imported here, since a
program that has such a value has imported it already.
"""

from __future__ import annotations

import base64
import enum
import json
import sys
import typing
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec


class Hook(NamedTuple):
    """Encoding and decoding of one class.

    :ivar encode: turns a value into the value to send in its place.
    :ivar decode: turns ``(class, received value)`` into a value of the class.
    :ivar wire: the type that is received in its place; ``Any`` for any.
    """

    encode: Callable[[Any], Any]
    decode: Callable[[Any, Any], Any]
    wire: Any = Any


_registered: dict[type, Hook] = {}
#: Types whose values msgspec encodes itself, but for enums and what is sent as plain text.
DIRECT: set[type] = set()
#: The answers of :func:`stand_in`.
_stand_ins: dict[type, Callable[[Any], Any] | None] = {}


def register(kind: type, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> None:
    """See :func:`hisock.codec.register`."""
    if not isinstance(kind, type):
        raise TypeError(f"{kind!r} is not a class")
    if not callable(encode) or not callable(decode):
        raise TypeError("encode and decode are functions of one argument")
    if _is_built_in(kind):
        raise ValueError(f"{kind.__name__} can be sent already; derive a class of your own from it")
    _registered[kind] = Hook(encode, lambda _, value: decode(value), _wire_type(decode))
    _stand_ins.clear()
    DIRECT.clear()


def _is_built_in(kind: type) -> bool:
    try:
        return not isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType)
    except NameError:  # of the annotations of a dataclass or the like, which msgspec writes itself
        return True


def _wire_type(decode: Callable[[Any], Any]) -> Any:
    """The annotation of a function's first argument."""
    try:
        hints = typing.get_type_hints(decode)
    except Exception:
        return Any
    hints.pop("return", None)
    return next(iter(hints.values()), Any)


def hook_of(kind: type) -> Hook | None:
    """The hook of a class, its own or that of a class it derives from."""
    for base in kind.__mro__:
        if base in _registered:
            return _registered[base]
    if hasattr(kind, "__json__") or hasattr(kind, "__from_json__"):
        return _OWN
    for package, hook_in in (("pydantic", _pydantic_hook), ("numpy", _numpy_hook)):
        module = sys.modules.get(package)
        hook = None if module is None else hook_in(module, kind)
        if hook is not None:
            return hook
    return None


def stand_in(kind: type) -> Callable[[Any], Any] | None:
    """The function that encodes values of a class; ``None`` if msgspec encodes them itself."""
    try:
        return _stand_ins[kind]
    except KeyError:
        pass
    hook = None if _is_built_in(kind) else hook_of(kind)
    if len(_stand_ins) >= 1024:
        _stand_ins.clear()
        DIRECT.clear()
    if hook is None and not issubclass(kind, enum.Enum):
        DIRECT.add(kind)
    found = _stand_ins[kind] = None if hook is None else hook.encode
    return found


def can_decode(kind: type) -> bool:
    """Whether a message can be decoded as a class that msgspec does not support.

    A registered function decodes exactly its class, not the classes that derive from it.
    """
    hook = hook_of(kind)
    return hook is not None and (
        hasattr(kind, "__from_json__") if hook is _OWN else kind in _registered or hook in _OFFERED
    )


#: The built-in types as which values of classes derived from them are sent.
_PLAIN: list[tuple[type, Callable[[Any], Any]]] = [
    (int, int),
    (float, float),
    (str, str),
    (bytes, bytes),
    (deque, list),
]


def encode_hook(value: Any) -> Any:
    """The value to send in place of one that msgspec cannot encode.

    :raises TypeError: there is no hook for its class.
    """
    hook = hook_of(type(value))
    if hook is not None:
        return hook.encode(value)
    for base, plain in _PLAIN:
        if isinstance(value, base):
            return plain(value)
    raise TypeError(
        f"objects of type {type(value).__name__} cannot be sent; "
        "give the class __json__(self), or register it with hisock.codec.register()"
    )


def decode_hook(kind: Any, value: Any) -> Any:
    """Decode a value of a class that msgspec does not support, inside a structure.

    :raises TypeError: there is no hook for that class.
    """
    hook = hook_of(typing.get_origin(kind) or kind)
    if hook is None:
        raise TypeError(f"objects of type {kind!r} cannot be received")
    if hook.wire is not Any:
        value = msgspec.convert(value, hook.wire, dec_hook=decode_hook)
    return hook.decode(kind, value)


# -- classes with __json__ and __from_json__


def _encode_own(value: Any) -> Any:
    if not hasattr(value, "__json__"):
        raise TypeError(f"objects of type {type(value).__name__} have no __json__()")
    return value.__json__()


def _decode_own(kind: Any, value: Any) -> Any:
    if not hasattr(kind, "__from_json__"):
        raise TypeError(f"objects of type {kind!r} cannot be received")
    return kind.__from_json__(value)


_OWN = Hook(_encode_own, _decode_own)

# -- pydantic


def _encode_model(model: Any) -> Any:
    return model.model_dump(mode="json")


def _decode_model(kind: Any, value: Any) -> Any:
    # As JSON, since strict models take text for a date, or a list for a tuple, from JSON only.
    return kind.model_validate_json(json.dumps(value))


_MODEL = Hook(_encode_model, _decode_model)


def _pydantic_hook(pydantic: Any, kind: type) -> Hook | None:
    model = getattr(pydantic, "BaseModel", None)
    is_model = isinstance(model, type) and issubclass(kind, model)
    return _MODEL if is_model and hasattr(kind, "model_validate_json") else None


# -- numpy


def _encode_array(array: Any) -> Any:
    if array.dtype.hasobject:
        raise TypeError("an array of Python objects cannot be sent")
    # Structured types are described by their fields.
    dtype = array.dtype.str if array.dtype.names is None else array.dtype.descr
    return {"dtype": dtype, "shape": list(array.shape), "data": array.tobytes()}


def _decode_array(kind: Any, value: Any) -> Any:
    numpy = sys.modules["numpy"]
    wanted = _array_dtype(numpy, kind)
    if isinstance(value, list):  # from a peer that knows no numpy
        array = numpy.array(value, dtype=wanted)
        if array.dtype.hasobject:
            raise ValueError("expected a list of numbers, or of lists of the same length")
        return array
    if not isinstance(value, dict) or not {"dtype", "shape", "data"} <= value.keys():
        raise ValueError("expected a list, or an object with the keys dtype, shape and data")
    array = _array_of(numpy, value["dtype"], value["shape"], value["data"])
    return array if wanted is None else array.astype(wanted, casting="safe", copy=False)


def _array_of(numpy: Any, described: Any, shape: Any, data: Any) -> Any:
    if isinstance(described, list):
        described = [tuple(field) for field in described]
    dtype = numpy.dtype(described)
    if dtype.hasobject:
        raise ValueError("an array of Python objects cannot be received")
    if isinstance(data, str):
        data = base64.b64decode(data, validate=True)
    return numpy.frombuffer(data, dtype).reshape(shape).copy()


def _array_dtype(numpy: Any, kind: Any) -> Any:
    """The ``float64`` of ``numpy.typing.NDArray[numpy.float64]``."""
    for argument in typing.get_args(kind):
        for inner in typing.get_args(argument):
            if isinstance(inner, type) and issubclass(inner, numpy.generic):
                return numpy.dtype(inner)
    return None


_ARRAY = Hook(_encode_array, _decode_array)
_SCALAR = Hook(lambda scalar: scalar.item(), lambda kind, value: kind(value))
_OFFERED = (_MODEL, _ARRAY, _SCALAR)


def _numpy_hook(numpy: Any, kind: type) -> Hook | None:
    array, scalar = getattr(numpy, "ndarray", None), getattr(numpy, "generic", None)
    if not isinstance(array, type) or not isinstance(scalar, type):
        return None  # it is being imported
    if issubclass(kind, array):
        return _ARRAY
    return _SCALAR if issubclass(kind, scalar) and not issubclass(kind, enum.Enum) else None
