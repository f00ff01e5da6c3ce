"""Several processes as one server: nodes, their roster, batches of messages, and links."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hisock._cluster import view as view


def __getattr__(name: str) -> Any:
    """Import ``view``, which is loaded only where it is used, for the annotations that name it."""
    if name != "view":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.view")
