"""The options of a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hisock._core.checks import require, require_numbers, require_seconds
from hisock._core.client_info import ClientInfo
from hisock._core.goodbyes import LONGEST_ABSENCE
from hisock._core.http import WebSocket
from hisock._server.limits import AddressRate, check_rate
from hisock.framing import build_header

if TYPE_CHECKING:
    from ssl import SSLContext

Announce = Literal["all", "group", "none"]
#: Characters of an ``admin_token`` at least: as long as ``secrets.token_urlsafe(12)``.
SHORTEST_TOKEN = 16
_NUMBERS = """header_len max_connections max_connections_per_ip max_message_size max_buffered
    send_buffer latest_ahead"""
OnFlood = Literal["disconnect", "pause"]
#: The policy for a client whose backlog is full: disconnect it, or drop the newest frames; or a
#: function of the client and its backlog in bytes that decides each time.
SlowPolicy = Literal["disconnect", "drop"]
OnSlow = SlowPolicy | Callable[[ClientInfo, int], SlowPolicy | None]


@dataclass(frozen=True)
class ServerOptions:
    """The options of a :class:`~hisock.server.HiSockServer`, which documents them.

    :raises ValueError: an option is out of its range.
    :raises TypeError: an option is of another type.
    """

    header_len: int
    max_connections: int
    max_connections_per_ip: int
    max_message_size: int
    max_buffered: int
    keepalive: bool
    keepalive_interval: float
    keepalive_timeout: float
    hello_timeout: float
    auth_timeout: float
    announce: Announce
    hide_addresses: bool
    unique_names: bool
    send_buffer: int
    latest_ahead: int
    on_slow: OnSlow
    rate_limit: tuple[float, float] | None
    on_flood: OnFlood
    connection_rate: AddressRate
    change_rate: AddressRate
    tls: SSLContext | None
    session: Callable[[], Any]
    websocket: WebSocket | None
    restart_after: float | None
    admin_token: str | None = field(repr=False)

    def __post_init__(self) -> None:
        require_numbers(self, _NUMBERS, optional="restart_after")
        build_header(0, self.header_len)  # a ValueError unless it is 1 to 20
        for name in ("rate_limit", "connection_rate", "change_rate"):
            check_rate(name, getattr(self, name))
        require(self.announce in ("all", "group", "none"), "announce", self.announce)
        require(self.on_flood in ("disconnect", "pause"), "on_flood", self.on_flood)
        slow = callable(self.on_slow) or self.on_slow in ("disconnect", "drop")
        require(slow, "on_slow", self.on_slow)
        for name in ("keepalive_interval", "keepalive_timeout", "hello_timeout", "auth_timeout"):
            require_seconds(name, getattr(self, name))
        seconds = self.restart_after
        require(seconds is None or 0 <= seconds <= LONGEST_ABSENCE, "restart_after", seconds)
        if not callable(self.session):
            raise TypeError(
                f"session is a class, or a function that makes one, not {self.session!r}"
            )
        if not isinstance(self.admin_token, (str, type(None))):
            raise TypeError(f"admin_token is text, not {type(self.admin_token).__name__}")
        if self.admin_token is not None and len(self.admin_token) < SHORTEST_TOKEN:
            raise ValueError(f"admin_token has {SHORTEST_TOKEN} characters at least")
        for name in ("max_message_size", "max_buffered", "send_buffer"):
            require(getattr(self, name) > 0, name, getattr(self, name))
        for name in ("max_connections", "max_connections_per_ip", "latest_ahead"):
            require(getattr(self, name) >= 0, name, getattr(self, name))
