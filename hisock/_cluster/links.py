"""Which link a URL means. The module of a link is imported when its first link is made."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from hisock._cluster.link import MakeLink, NodeLink

#: Scheme of a URL -> the module, and its function of the URL that makes the link.
SCHEMES: dict[str, str | MakeLink] = {
    "nats": "hisock._cluster.nats:make_link",
    "tls": "hisock._cluster.nats:make_link",
    "redis": "hisock._cluster.redis:make_link",
    "rediss": "hisock._cluster.redis:make_link",
    "valkey": "hisock._cluster.redis:make_link",
    "valkeys": "hisock._cluster.redis:make_link",
    "local": "hisock._cluster.local:make_link",
}


def make_link(url: str) -> NodeLink:
    """Make the link of a URL, which is known to have one of the schemes.

    :raises ImportError: its package is not installed; the error says which.
    :raises ValueError: the rest of the URL makes no sense.
    """
    make = SCHEMES[url.partition(":")[0].lower()]
    if isinstance(make, str):
        module, _, name = make.partition(":")
        make = cast(MakeLink, getattr(import_module(module), name))
    return make(url)
