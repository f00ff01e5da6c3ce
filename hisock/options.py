"""What servers and clients can be told when they are made, besides the address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hisock.casting import find_codec
from hisock.clients import ClientInfo
from hisock.framing import build_header
from hisock.limits import check_rate_limit
from hisock.reconnecting import Reconnect

if TYPE_CHECKING:
    from ssl import SSLContext

Announce = Literal["all", "group", "none"]
OnFlood = Literal["disconnect", "pause"]
#: What becomes of a client that takes less than is sent to it: it is disconnected, or what is
#: newest is not sent; a function of the client and its backlog in bytes may decide each time.
SlowPolicy = Literal["disconnect", "drop"]
OnSlow = SlowPolicy | Callable[[ClientInfo, int], "SlowPolicy | None"]


@dataclass(frozen=True)
class ServerOptions:
    """The options of a :class:`~hisock.server.HiSockServer`, where they are explained.

    :raises ValueError: one of them is not what it has to be.
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
    on_slow: OnSlow
    rate_limit: tuple[float, float] | None
    on_flood: OnFlood
    tls: SSLContext | None
    session: Callable[[], Any]

    def __post_init__(self) -> None:
        build_header(0, self.header_len)  # a ValueError unless it is 1 to 20
        check_rate_limit(self.rate_limit)
        _require(self.announce in ("all", "group", "none"), "announce", self.announce)
        _require(self.on_flood in ("disconnect", "pause"), "on_flood", self.on_flood)
        slow = callable(self.on_slow) or self.on_slow in ("disconnect", "drop")
        _require(slow, "on_slow", self.on_slow)
        for name in ("keepalive_interval", "keepalive_timeout", "hello_timeout", "auth_timeout"):
            _require(getattr(self, name) > 0, name, getattr(self, name))
        for name in ("max_message_size", "max_buffered", "send_buffer"):
            _require(getattr(self, name) > 0, name, getattr(self, name))
        for name in ("max_connections", "max_connections_per_ip"):
            _require(getattr(self, name) >= 0, name, getattr(self, name))


@dataclass(frozen=True)
class ClientOptions:
    """The options of a client; :class:`~hisock.client.HiSockClient` explains them.

    :raises ValueError: one of them is not what it has to be.
    """

    name: str | None
    group: str | None
    header_len: int
    cache_size: int
    max_message_size: int
    timeout: float | None
    codec: str
    token: str | None
    reconnect: Reconnect | None
    offline_buffer: int
    tls: SSLContext | None
    host: str | None

    def __post_init__(self) -> None:
        build_header(0, self.header_len)  # a ValueError unless it is 1 to 20
        find_codec(self.codec)
        _require(self.max_message_size > 0, "max_message_size", self.max_message_size)
        _require(self.offline_buffer >= 0, "offline_buffer", self.offline_buffer)

    @property
    def wants_answer(self) -> bool:
        """Whether the client is made only when the server has let it in."""
        return self.token is not None or self.codec != "json"


_EXPECTED = {
    "announce": "'all', 'group' or 'none'",
    "on_flood": "'disconnect' or 'pause'",
    "on_slow": "'disconnect', 'drop' or a function of the client and its backlog",
    "max_connections": "0 or more",
    "offline_buffer": "0 or more",
    "max_connections_per_ip": "0 or more",
}


def _require(holds: bool, name: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} is {_EXPECTED.get(name, 'more than 0')}, not {value!r}")
