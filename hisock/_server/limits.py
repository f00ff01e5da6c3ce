"""Limits for one client, or for one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from hisock._core.addresses import is_local, network_of
from hisock._core.http import NO_WEBSOCKET
from hisock._core.rates import AddressRates, Allowances, RateLimit

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub


#: A rate for each address: (times a second, burst), ``None`` for no limit, or ``"auto"``, a default
#: that exempts this machine, from which proxies, tests and other processes connect.
AddressRate = tuple[float, float] | Literal["auto"] | None

_AUTO_CONNECTIONS = (50.0, 500.0)
_AUTO_CHANGES = (10.0, 200.0)


def check_rate(name: str, option: AddressRate) -> None:
    """An option such as ``rate_limit=(messages a second, burst)``.

    :raises ValueError: one of them is not more than 0.
    """
    if option is None or (option == "auto" and name != "rate_limit"):
        return
    pair: Any = option
    try:
        rate, burst = pair
        fits = rate > 0 and burst >= 1
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"{name} is (times a second, burst), both more than 0, not {option!r}")


class ConnectionCount:
    """The number of connections, in all and of each address.

    :param most: how many there may be; 0 for any number.
    :param most_per_ip: how many of one IP address; 0 for any number.
    :param exempt: returns whether an address is exempt from ``most_per_ip``.
    """

    def __init__(
        self, most: int, most_per_ip: int, exempt: Callable[[str], bool] = lambda ip: False
    ) -> None:
        self._exempt = exempt
        self._most = most
        self._most_per_ip = most_per_ip
        self._all = 0
        self._by_ip: Counter[str] = Counter()

    def add(self, ip: str) -> str | None:
        """Count a connection; returns why it is one too many, if it is."""
        self._all += 1
        if self._most_per_ip and not self._exempt(ip):
            self._by_ip[ip] += 1
            if self._by_ip[ip] > self._most_per_ip:
                return f"the server takes {self._most_per_ip} connections from one address"
        if self._most and self._all > self._most:
            return f"the server is full, it takes {self._most} connections"
        return None

    def remove(self, ip: str) -> None:
        """Count a connection no longer."""
        self._all -= 1
        if self._most_per_ip and not self._exempt(ip):
            self._by_ip[ip] -= 1
            if not self._by_ip[ip]:
                del self._by_ip[ip]


class _Rule:
    """How often something may happen from one address."""

    def __init__(self, option: AddressRate, auto: tuple[float, float]) -> None:
        self._spares_local = option == "auto"
        rate = auto if option == "auto" else option
        self._rates = None if rate is None else AddressRates(*rate)

    def permits(self, host: str, now: float) -> bool:
        if self._rates is None or (self._spares_local and is_local(host)):
            return True
        return self._rates.permits(network_of(host), now)


class Limits:
    """The rates of messages, connections and changes, which a reconnect does not reset."""

    def __init__(self, hub: Hub) -> None:
        options = hub.options
        self._hub = hub
        rate = options.rate_limit
        self._allowances = None if rate is None else Allowances(*rate)
        self._trusts = (options.websocket or NO_WEBSOCKET).trusts
        self._connections = _Rule(options.connection_rate, _AUTO_CONNECTIONS)
        self._changes = _Rule(options.change_rate, _AUTO_CHANGES)

    def permits_connection(self, host: str) -> bool:
        """Whether one more connection may come from an address now; counts it if so."""
        return self._trusts(host) or self._connections.permits(host, self._hub.loop.time())

    def permits_change(self, connection: Connection) -> bool:
        """Whether a client may ask for a name or a group now; counts it if so."""
        return self._changes.permits(connection.info.addr[0], self._hub.loop.time())

    def begin(self, connection: Connection) -> RateLimit | None:
        """How many messages a new connection may send; ``None`` for any number."""
        if self._allowances is None:
            return None
        now = self._hub.loop.time()
        limit = self._allowances.take(network_of(connection.info.addr[0]), now)
        debt = limit.debt(now)
        if debt and self._hub.options.on_flood == "pause":
            # All frames wait, the hello included, until what an earlier connection of this address
            # overdrew is paid off; after hello_timeout the connection has ended anyway.
            connection.begin()
            most = self._hub.options.hello_timeout + 1
            self._hub.loop.call_later(min(debt, most), connection.idle)
        return limit

    def end(self, connection: Connection) -> None:
        """Keep the remaining allowance of an ended connection for the next one of its address."""
        limit, connection.limit = connection.limit, None
        if self._allowances is None or limit is None:
            return
        if self._hub.options.on_flood == "disconnect":
            # The excess was not handled, and the hello of the next connection must be.
            limit.forgive()
        now = self._hub.loop.time()
        self._allowances.give_back(network_of(connection.info.addr[0]), limit, now)
