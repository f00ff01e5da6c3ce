"""Limits of what one client, or one address, may use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from hisock._core.addresses import network_of
from hisock._core.rates import Allowances, RateLimit

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub


def check_rate_limit(option: tuple[float, float] | None) -> tuple[float, float] | None:
    """The option ``rate_limit=(messages a second, burst)``.

    :raises ValueError: one of them is not more than 0.
    """
    if option is not None:
        rate, burst = option
        if rate <= 0 or burst < 1:
            raise ValueError(
                f"rate_limit is (messages a second, burst), both more than 0, not {option!r}"
            )
    return option


class Headcount:
    """How many connections there are, in all and of each address.

    :param most: how many there may be; 0 for any number.
    :param most_per_ip: how many of one IP address; 0 for any number.
    :param exempt: tells addresses of which there may be any number.
    """

    def __init__(
        self, most: int, most_per_ip: int, exempt: Callable[[str], bool] = lambda ip: False
    ) -> None:
        self._exempt = exempt
        self._most = most
        self._most_per_ip = most_per_ip
        self._all = 0
        self._by_ip: Counter[str] = Counter()

    def come(self, ip: str) -> str | None:
        """Count a connection; returns why it is one too many, if it is."""
        self._all += 1
        if self._most_per_ip and not self._exempt(ip):
            self._by_ip[ip] += 1
            if self._by_ip[ip] > self._most_per_ip:
                return f"the server takes {self._most_per_ip} connections from one address"
        if self._most and self._all > self._most:
            return f"the server is full, it takes {self._most} connections"
        return None

    def go(self, ip: str) -> None:
        """A connection has gone."""
        self._all -= 1
        if self._most_per_ip and not self._exempt(ip):
            self._by_ip[ip] -= 1
            if not self._by_ip[ip]:
                del self._by_ip[ip]


class Limits:
    """Rates of what clients do, which coming back does not reset."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        rate = hub.options.rate_limit
        self._allowances = None if rate is None else Allowances(*rate)

    def begin(self, connection: Connection) -> RateLimit | None:
        """How many messages a new connection may send; ``None`` for any number."""
        if self._allowances is None:
            return None
        now = self._hub.loop.time()
        limit = self._allowances.take(network_of(connection.info.addr[0]), now)
        debt = limit.debt(now)
        if debt and self._hub.options.on_flood == "pause":
            # What comes waits, the hello too; if that is overdue then, the connection has ended.
            connection.begin()
            most = self._hub.options.hello_timeout + 1
            self._hub.loop.call_later(min(debt, most), connection.idle)
        return limit

    def end(self, connection: Connection) -> None:
        """Keep what a connection that has ended may send for the next one of its address."""
        limit, connection.limit = connection.limit, None
        if self._allowances is None or limit is None:
            return
        if self._hub.options.on_flood == "disconnect":
            # What was too much has not been handled; the next one's hello has to be.
            limit.forgive()
        now = self._hub.loop.time()
        self._allowances.give_back(network_of(connection.info.addr[0]), limit, now)
