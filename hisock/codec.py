"""How values of your own classes become messages, and messages become such values.

What msgspec knows needs nothing: dataclasses, ``msgspec.Struct``, enums, dates. Nor do models of
pydantic and arrays of numpy. For other classes, say how::

    hisock.codec.register(Vector, lambda v: [v.x, v.y], lambda data: Vector(*data))

    @server.on("aim")
    def aim(client, at: Vector): ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hisock._core import casting, hooks

__all__ = ["register"]

T = TypeVar("T")


def register(type: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
    """Let values of a class be sent, and be asked for by handlers and ``recv``.

    Call this before registering handlers with annotations that name the class, on both sides of a
    connection. Registering a class again replaces its functions.

    :param type: the class. Values of classes derived from it are sent as well.
    :param encode: takes a value; returns what is sent in its place: ``bytes``, ``str``, a list, a
        dict or anything else that can be sent.
    :param decode: takes that and returns the value. Its parameter's annotation says what it takes;
        without one, a list, a dict, a number or text as the message reads. Annotate it ``bytes`` or
        ``str`` where ``encode`` returns that.
    :raises TypeError: ``type`` is no class, or ``encode`` or ``decode`` no function.
    :raises ValueError: values of the class can be sent already.
    """
    hooks.register(type, encode, decode)
    casting.forget_casts()
