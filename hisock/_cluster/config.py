"""Where a cluster is and how it behaves: :class:`Cluster`."""

from __future__ import annotations

import math
import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from hisock._cluster.links import SCHEMES
from hisock._core.public import publish

_APP = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Bytes of a key for BLAKE2b.
_LEAST_KEY, _MOST_KEY = 16, 64


class Cluster:
    """Servers on several processes or machines that act as one.

    Give it to a server as ``cluster=``; a plain URL is the same as ``Cluster(url)``.

    :param url: what connects the servers: ``"nats://host:4222"`` or ``"tls://host:4222"``
        (``hisock[nats]``); ``"redis://host:6379"``, ``"rediss://..."``, ``"valkey://..."`` or
        ``"valkeys://..."`` (``hisock[redis]``); ``"local:/path/of/a/directory"`` for the workers of
        one machine, without a broker. It may hold a user and a password, which are never shown.
    :param app: the name of the application, 1 to 64 letters, digits, ``_`` and ``-``. Servers of
        other applications on the same broker are not heard. Default ``"default"``.
    :param key: a secret of 16 to 64 bytes, the same on all servers. With it, what others put on the
        broker is refused. Default ``None``.
    :param linger: seconds between two batches to the same servers at least; the first message is
        sent at once. Default 0.002.
    :param dead_after: seconds of silence after which a server is taken for dead. Default 5.
    :param grace: seconds that the others' clients stay known while this server's own link is down.
        Default 10.
    :param address: ``(host, port)`` where players can be sent to, which the other servers are told.
        Default ``None``.
    :param max_waiting: bytes that may wait to be sent to one other server; above that its messages
        are dropped and counted. Default 8 MiB.
    :raises ValueError: one of them makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        app: str = "default",
        key: bytes | str | None = None,
        linger: float = 0.002,
        dead_after: float = 5.0,
        grace: float = 10.0,
        address: tuple[str, int] | None = None,
        max_waiting: int = 8 * 1024 * 1024,
    ) -> None:
        self.url: Final = _checked(url)
        if not (isinstance(app, str) and _APP.fullmatch(app)):
            raise ValueError(f"app is 1 to 64 letters, digits, '_' and '-', not {app!r}")
        self.app: Final = app
        self.key: Final = _key(key)
        for name, value in (("dead_after", dead_after), ("grace", grace)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is more than 0 seconds, not {value!r}")
        if not 0 <= linger <= 1:
            raise ValueError(f"linger is 0 to 1 seconds, not {linger!r}")
        if max_waiting < 1024 * 1024:
            raise ValueError(f"max_waiting is 1 MiB or more, in bytes, not {max_waiting!r}")
        self.linger: Final = linger
        self.dead_after: Final = dead_after
        self.grace: Final = grace
        self.address: Final = None if address is None else (str(address[0]), int(address[1]))
        self.max_waiting: Final = max_waiting

    @property
    def shown(self) -> str:
        """The URL without user and password, as it may be logged."""
        return shown_url(self.url)

    def __repr__(self) -> str:
        key = "" if self.key is None else ", key=..."
        return f"Cluster({self.shown!r}, app={self.app!r}{key})"


def shown_url(url: str) -> str:
    """A URL, or several with commas between them, without what is secret in it."""
    return ",".join(_shown_one(one) for one in url.split(","))


def _shown_one(url: str) -> str:
    scheme, colon, rest = url.partition(":")
    if not rest.startswith("//"):
        return f"{scheme}:{rest.rpartition('@')[2].partition('?')[0]}" if colon else "..."
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{scheme}://..."
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _checked(url: str) -> str:
    scheme = url.partition(":")[0].lower() if isinstance(url, str) else ""
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}:" for name in SCHEMES)
        raise ValueError(f"the URL of a cluster begins with one of {known} not {scheme[:20]!r}")
    return url


def _key(key: bytes | str | None) -> bytes | None:
    if key is None:
        return None
    data = key.encode() if isinstance(key, str) else bytes(key)
    if not _LEAST_KEY <= len(data) <= _MOST_KEY:
        raise ValueError(f"key is {_LEAST_KEY} to {_MOST_KEY} bytes long, not {len(data)}")
    return data


def as_cluster(cluster: Cluster | str) -> Cluster:
    """A cluster that was given as such or as its URL.

    :raises TypeError: it is neither.
    """
    if isinstance(cluster, str):
        return Cluster(cluster)
    if not isinstance(cluster, Cluster):
        raise TypeError(f"cluster is a URL or a Cluster, not {cluster!r}")
    return cluster


publish("hisock", globals(), ("Cluster",))
