"""Limits of what one client, or one address, may use."""

from __future__ import annotations

from collections import Counter


class RateLimit:
    """A token bucket: so many messages a second on average, and so many at once.

    :param rate: messages a second.
    :param burst: messages that may come at once.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_when")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._when = now

    def allowance(self, now: float) -> int:
        """How many messages may come now."""
        self._tokens = min(self._burst, self._tokens + (now - self._when) * self._rate)
        self._when = now
        return max(0, int(self._tokens))

    def spend(self, messages: int) -> float:
        """Count messages; returns the seconds until the debt, if there is one, is paid."""
        self._tokens -= messages
        return max(0.0, -self._tokens / self._rate)


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


class LogLimit:
    """Keeps a flood of events from becoming a flood of log lines.

    :ivar withheld: how many lines have been withheld since the last reset.
    """

    def __init__(self, rate: float = 20, burst: float = 200) -> None:
        self._rate = rate
        self._burst = burst
        self._limit: RateLimit | None = None
        self.withheld = 0

    def permits(self, now: float) -> bool:
        """Whether one more line may be logged; counts it if not."""
        if self._limit is None:
            self._limit = RateLimit(self._rate, self._burst, now)
        if self._limit.allowance(now):
            self._limit.spend(1)
            return True
        self.withheld += 1
        return False

    def reset(self) -> int:
        """How many lines were withheld; the count starts afresh."""
        withheld, self.withheld = self.withheld, 0
        return withheld


class Headcount:
    """How many connections there are, in all and of each address.

    :param most: how many there may be; 0 for any number.
    :param most_per_ip: how many of one IP address; 0 for any number.
    """

    def __init__(self, most: int, most_per_ip: int) -> None:
        self._most = most
        self._most_per_ip = most_per_ip
        self._all = 0
        self._by_ip: Counter[str] = Counter()

    def come(self, ip: str) -> str | None:
        """Count a connection; returns why it is one too many, if it is."""
        self._all += 1
        if self._most_per_ip:
            self._by_ip[ip] += 1
            if self._by_ip[ip] > self._most_per_ip:
                return f"the server takes {self._most_per_ip} connections from one address"
        if self._most and self._all > self._most:
            return f"the server is full, it takes {self._most} connections"
        return None

    def go(self, ip: str) -> None:
        """A connection has gone."""
        self._all -= 1
        if self._most_per_ip:
            self._by_ip[ip] -= 1
            if not self._by_ip[ip]:
                del self._by_ip[ip]
