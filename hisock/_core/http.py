"""What a browser asks with before its WebSocket begins, and what a server allows it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from hisock._core.checks import require

Engine = Literal["auto", "picows", "websockets"]
#: The longest message (bytes) of a WebSocket that is taken; a stream is cut into as many as needed.
DEFAULT_MAX_FRAME = 65536
_LEAST_MAX_FRAME = 1024


@dataclass(frozen=True)
class WebSocket:
    """How a server takes clients that come over a WebSocket: ``HiSockServer(..., websocket=...)``.

    :param path: the path that they have to ask for; ``None`` for any.
    :param origins: the pages that may connect, as browsers name them: ``"https://example.org"``.
        ``None``, the default, lets pages of the host in that the request is for; ``"*"`` any.
        Clients that are no browsers send no origin, and are let in.
    :param trusted_proxies: addresses or networks of proxies whose ``X-Forwarded-For`` is believed;
        their own number of connections is not limited by ``max_connections_per_ip``.
    :param max_frame: bytes that one WebSocket message may have, 1,024 at the least; a longer one
        ends its connection. Clients cut their stream into messages of 65,536 bytes or less.
    :param health: the path whose request is answered by 200, and by 503 while the server closes,
        which keeps its address until it has closed; ``None`` for none.
    :param engine: ``"picows"``, ``"websockets"``, or ``"auto"`` for the first of them that is
        installed; Unix sockets are served by websockets.
    :raises ValueError: one of them is not what it has to be.
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
        """What the option ``websocket=`` of a server stands for."""
        if option is True:
            return cls()
        return option or None

    def trusts(self, ip: str) -> bool:
        """Whether an address is that of a proxy which is believed."""
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
    """The HTTP request that a client's WebSocket began with.

    :ivar target: what it asked for, with the query.
    :ivar fields: its headers as they came: pairs of name and value.
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
        """The parameters behind the path; of several with one name the last."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def headers(self) -> dict[str, str]:
        """The headers by their names in small letters; several of one name are joined by commas."""
        joined: dict[str, str] = {}
        for name, value in self.fields:
            key = name.lower()
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
        return joined

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies; none where what the client sent is not valid."""
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
        # Neither the query nor the headers: both may hold what lets the client in.
        return f"<HttpRequest {self.path}>"


def websocket_option(option: Any) -> WebSocket | None:
    """The option ``websocket=``, checked.

    :raises TypeError: it is something else.
    """
    if option is None or isinstance(option, (bool, WebSocket)):
        return WebSocket.of(option)
    raise TypeError(f"websocket is True or a hisock.WebSocket, not {option!r}")
