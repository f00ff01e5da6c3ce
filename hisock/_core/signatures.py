"""Functions that have the parameters of what they make."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def made_by(cls: Callable[P, T]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """A decorator that does what :func:`maker_of` does, for classes that are not generic."""

    def give(func: Callable[..., T]) -> Callable[P, T]:
        return maker_of(cls, func, func.__name__)

    return give


def maker_of(cls: Callable[P, T], func: Callable[..., object], name: str) -> Callable[P, T]:
    """Give a function the signature and the documented parameters of the class that it makes.

    Type checkers, editors, ``help()`` and the reference then see the same as for the class, and
    an option is written down once. It is no decorator: mypy keeps a class generic only through
    one call.

    :param name: the public name of the function.
    """
    made = inspect.signature(cls)
    returned = inspect.signature(func).return_annotation
    func.__name__ = func.__qualname__ = name
    func.__doc__ = f"{inspect.getdoc(func)}\n\n{_documented_parameters(cast(type, cls))}"
    # Editors and inspect read it; type checkers do not know that functions may have one.
    func.__signature__ = made.replace(return_annotation=returned)  # type: ignore[attr-defined]
    return cast("Callable[P, T]", func)


def _documented_parameters(cls: type) -> str:
    texts = (inspect.cleandoc(base.__doc__ or "") for base in inspect.getmro(cls))
    return next(text[text.index(":param") :] for text in texts if ":param" in text)
