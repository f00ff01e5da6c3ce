"""The names that public classes and functions go by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any, get_type_hints


def publish(module: str, namespace: Mapping[str, Any], names: Iterable[str]) -> None:
    """Let classes and functions name the public module that programs import them from.

    Tracebacks, pickles and the reference show that module then, not the internal one.

    :param module: the public module, ``"hisock.routing"``.
    :param namespace: what the module holds.
    :param names: what of it is public.
    """
    for public in map(namespace.__getitem__, names):
        # Not isinstance: on Python 3.10 an alias such as list[int] is an instance of type.
        is_class = issubclass(type(public), type)
        if is_class:
            _resolve(public)
        if is_class or isinstance(public, FunctionType):
            public.__module__ = module


def _resolve(public: type) -> None:
    """Replace annotations that are text: nobody could look them up in another module."""
    own = public.__annotations__
    if own:
        hints = get_type_hints(public, include_extras=True)
        public.__annotations__ = {name: hints[name] for name in own}
