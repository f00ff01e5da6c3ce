"""The HTTP request that opens a WebSocket, and the options of a server for it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from hisock._core.checks import require
from hisock._core.public import publish

Engine = Literal["auto", "picows", "websockets"]
#: Bytes of the longest WebSocket message that is accepted; a stream is split into such messages.
DEFAULT_MAX_FRAME = 65536
_LEAST_MAX_FRAME = 1024


@dataclass(frozen=True)
class WebSocket:
    """The options of WebSocket connections: ``HiSockServer(..., websocket=...)``.

    :param path: the path that requests must have; ``None`` (the default) for any.
    :param origins: the origins of pages that may connect, such as ``"https://example.org"``.
        ``None`` (the default) admits pages of the host that the request is for, ``"*"`` all pages.
        Clients other than browsers send no origin, and are admitted.
    :param trusted_proxies: IP addresses or networks of proxies whose ``X-Forwarded-For`` is
        trusted; ``max_connections_per_ip`` does not apply to them. Default: none.
    :param max_frame: bytes of one WebSocket message at most, 1,024 or more, default 65,536; a
        longer one ends its connection. Clients split their stream into messages of at most 65,536
        bytes.
    :param health: the path of health checks, which are answered with 200, or with 503 during the
        shutdown, which keeps the address until the end; default ``"/health"``, ``None`` for none.
    :param engine: ``"picows"``, ``"websockets"``, or ``"auto"`` (the default) for the first of them
        that is installed. Unix sockets always use websockets.
    :raises ValueError: an option is out of its range.
    """

    path: str | None = None
    origins: Sequence[str] | None = None
    trusted_proxies: Sequence[str] = ()
    max_frame: int = DEFAULT_MAX_FRAME
    health: str | None = "/health"
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        for name in ("path", "health"):
            value = getattr(self, name)
            require(value is None or value.startswith("/"), name, value)
        wanted = "'*', or a list such as ['https://example.org']"
        if isinstance(self.origins, str) and self.origins != "*":
            raise ValueError(f"origins is {wanted}, not {self.origins!r}")
        if isinstance(self.trusted_proxies, str):
            raise ValueError(f"trusted_proxies is a list, not {self.trusted_proxies!r}")
        for network in self.trusted_proxies:
            ipaddress.ip_network(network, strict=False)
        require(self.max_frame >= _LEAST_MAX_FRAME, "max_frame", self.max_frame)
        require(self.engine in ("auto", "picows", "websockets"), "engine", self.engine)

    @classmethod
    def of(cls, option: WebSocket | bool | None) -> WebSocket | None:
        """The options that ``websocket=`` of a server means; ``None`` for no WebSockets."""
        if option is True:
            return cls()
        return option or None

    def trusts(self, ip: str) -> bool:
        """Whether an IP address is that of a trusted proxy."""
        if not self.trusted_proxies:
            return False
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:  # a Unix socket
            return False
        networks = (ipaddress.ip_network(one, strict=False) for one in self.trusted_proxies)
        return any(address in network for network in networks)


#: The options of a server that takes no WebSockets.
NO_WEBSOCKET = WebSocket()


class HttpRequest:
    """The HTTP request that opened a client's WebSocket.

    :ivar target: the request target: path and query.
    :ivar fields: its headers as received, pairs of name and value.
    """

    __slots__ = ("fields", "target")

    def __init__(self, target: str, fields: Sequence[tuple[str, str]]) -> None:
        self.target = target
        self.fields = tuple(fields)

    @property
    def path(self) -> str:
        """The path, without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query; of several with one name, the last."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def headers(self) -> dict[str, str]:
        """The headers by names in lower case; several of one name are joined by commas."""
        joined: dict[str, str] = {}
        for name, value in self.fields:
            key = name.lower()
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
        return joined

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies; empty if the client's header is not valid."""
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load("; ".join(self.all("cookie")))
        except CookieError:
            return {}
        return {name: morsel.value for name, morsel in jar.items()}

    def all(self, name: str) -> list[str]:
        """The values of every header of that name, in order."""
        return [value for key, value in self.fields if key.lower() == name]

    def __repr__(self) -> str:
        # Without query and headers, since both may hold credentials.
        return f"<HttpRequest {self.path}>"


def websocket_option(option: Any) -> WebSocket | None:
    """The option ``websocket=``, checked.

    :raises TypeError: it is something else.
    """
    if option is None or isinstance(option, (bool, WebSocket)):
        return WebSocket.of(option)
    raise TypeError(f"websocket is True or a hisock.WebSocket, not {option!r}")


publish("hisock", globals(), ("HttpRequest", "WebSocket"))
