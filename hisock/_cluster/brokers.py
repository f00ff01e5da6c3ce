"""What the links over brokers share: URLs, errors without what is secret in them, keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote


def broker_query(query: str, known: tuple[str, ...]) -> dict[str, str]:
    """The options in the query of a URL.

    :raises ValueError: one of them is not known, or stands there twice.
    """
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known or name in given or not value:
            raise ValueError(
                f"the URL of a broker may have {', '.join(known)} behind its '?', each once and "
                f"with a value; not {name[:20]!r}"
            )
        given[name] = value
    return given


def without_secrets(text: str, urls: Iterable[str]) -> str:
    """A text in which nothing stands that these URLs have before their ``@``."""
    for url in urls:
        credentials = url.partition("://")[2].rpartition("@")[0]
        user, _, password = credentials.partition(":")
        for part in (credentials, password, *(() if password else (user,))):
            for secret in {part, unquote(part)} - {""}:
                text = text.replace(secret, "...")
    return text


def key_of(name: str) -> str:
    """The key of a name in a store: they allow less than names may be."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


#: What the ids of publishers begin with, so that a broker can tell them from nodes.
PUBLISHER_ID = "ffffffff"


def to_all(app: str) -> str:
    """The subject or channel that all nodes of an application hear."""
    return f"hisock.{app}.all"


def to_one(app: str, node: str) -> str:
    """That of one node, or of a publisher: those have others, so that they can be kept apart."""
    return f"hisock.{app}.{'p' if node.startswith(PUBLISHER_ID) else 'n'}.{node}"
