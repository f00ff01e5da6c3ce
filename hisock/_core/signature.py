"""What a handler's signature says: how many arguments it takes, and what they are annotated as."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Signature:
    """How many arguments a handler takes, and their annotations.

    :param func: the handler.
    :param namespace: local names that its annotations may use, besides its module's globals.
    :raises TypeError: it has a keyword-only argument without a default, which nobody would fill.
    :ivar name: its qualified name.
    :ivar least: how many arguments it takes at least; ``most`` at most.
    :ivar names: of its positional arguments.
    :ivar notes: what its programmer is to be warned of.
    """

    def __init__(self, func: Callable[..., Any], namespace: Mapping[str, Any]) -> None:
        self.name = getattr(func, "__qualname__", repr(func))
        try:
            parameters = list(_parameters(func))
        except ValueError:  # some built-ins tell nothing about themselves
            parameters = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
        for parameter in parameters:
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
                raise TypeError(
                    f"handler {self.name}: the keyword-only argument {parameter.name!r} "
                    "needs a default, handlers are called with positional arguments"
                )
        positional = [p for p in parameters if p.kind in _POSITIONAL]
        self.least = sum(p.default is p.empty for p in positional)
        self.most = len(positional)
        if any(p.kind is p.VAR_POSITIONAL for p in parameters):
            self.most = sys.maxsize
        self.names = [p.name for p in positional]
        self._hints = _hints(func, namespace)
        self._code = getattr(inspect.unwrap(func), "__code__", None)
        self.notes: list[str] = []

    @property
    def place(self) -> str:
        """The handler's name, and where it is written, if that is known."""
        if self._code is None:
            return self.name
        return f"{self.name} ({self._code.co_filename}:{self._code.co_firstlineno})"

    def hint(self, index: int) -> Any:
        """The annotation of an argument; ``None`` when it has none that can be resolved."""
        hint = self._hints.get(self.names[index]) if index < len(self.names) else None
        return None if isinstance(hint, Exception) else hint

    def has_default(self, index: int) -> bool:
        """Whether an argument may be left out."""
        return self.least <= index < len(self.names)

    def annotation(self, index: int) -> Any:
        """The annotation of an argument, ``None`` when it has none.

        :raises TypeError: a name in it cannot be found.
        """
        if index >= len(self.names):
            return None
        hint = self._hints.get(self.names[index])
        if isinstance(hint, Exception):
            raise TypeError(
                f"handler {self.name}: the annotation of {self.names[index]!r} cannot be "
                f"resolved: {hint}"
            ) from hint
        return hint

    def annotations(self) -> dict[str, Any]:
        """The annotation of each positional argument by its name, ``None`` where there is none."""
        return {name: self._hints.get(name) for name in self.names}

    def wants_dict(self, index: int) -> bool:
        """Whether the client, at that place, is asked for as a dict."""
        hint = self.hint(index)
        return hint is dict or typing.get_origin(hint) is dict


def require_arguments(func: Callable[..., Any], *arguments: object) -> None:
    """Refuse a function that cannot be called with these arguments; annotations may be undefined.

    :raises TypeError: it cannot; the text says why.
    :raises ValueError: it tells nothing about itself, as some built-ins do.
    """
    inspect.Signature(list(_parameters(func))).bind(*arguments)


def _parameters(func: Callable[..., Any]) -> typing.Iterable[inspect.Parameter]:
    if sys.version_info >= (3, 14):  # pragma: no cover - measured on an older Python
        import annotationlib

        forward = annotationlib.Format.FORWARDREF
        return inspect.signature(func, annotation_format=forward).parameters.values()
    return inspect.signature(func).parameters.values()


def _hints(func: Callable[..., Any], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Annotations as types; one that cannot be resolved becomes the exception that says why."""
    while hasattr(func, "func"):  # functools.partial
        func = func.func
    target: Any = inspect.unwrap(func)
    target = getattr(target, "__func__", target)
    if not isinstance(target, types.FunctionType):
        target = getattr(type(target), "__call__", target)  # noqa: B004 - the function, not a test
    scope = dict(namespace)
    try:
        return typing.get_type_hints(target, localns=scope, include_extras=True)
    except Exception:
        return _hints_one_by_one(target, scope)


def _hints_one_by_one(target: Any, scope: dict[str, Any]) -> dict[str, Any]:
    if sys.version_info >= (3, 14):  # pragma: no cover - measured on an older Python
        import annotationlib

        raw = annotationlib.get_annotations(target, format=annotationlib.Format.FORWARDREF)
    else:
        raw = dict(getattr(target, "__annotations__", {}))
    known = getattr(target, "__globals__", {})
    hints: dict[str, Any] = {}
    for name, annotation in raw.items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints.update(typing.get_type_hints(holder, known, scope, include_extras=True))
        except Exception as exc:
            hints[name] = exc
    return hints


def argument_count(
    signature: Signature, event: str, allowed: tuple[int, ...], exact: bool, names: str = ""
) -> int:
    """How many arguments to call a handler with.

    :param names: of the arguments at most, for the error.
    :param allowed: the counts that the event can be delivered with, in ascending order.
    :param exact: the handler must take one of them; else it may take fewer than it wants.
    :raises TypeError: it takes more, or (exact) another number.
    """
    for count in reversed(allowed):
        if signature.least <= count <= signature.most:
            return count
    wanted = " or ".join(map(str, allowed)) if exact else f"0 to {allowed[-1]}"
    word = "argument" if wanted == "1" else "arguments"
    raise TypeError(
        f"a handler of {event!r} takes {wanted} {word}{names}, {signature.name} takes "
        f"{signature.least if signature.most > allowed[-1] else signature.most}"
    )
