"""A token bucket, without a clock of its own."""

from __future__ import annotations


class RateLimit:
    """A token bucket.

    :param rate: messages a second on average.
    :param burst: messages that may arrive at once.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_when")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._when = now

    def allowance(self, now: float) -> int:
        """How many messages are allowed now."""
        self._tokens = min(self._burst, self._tokens + (now - self._when) * self._rate)
        self._when = now
        return max(0, int(self._tokens))

    def spend(self, messages: int) -> float:
        """Count messages; returns the seconds until the debt, if there is one, is paid."""
        self._tokens -= messages
        return max(0.0, -self._tokens / self._rate)

    def debt(self, now: float) -> float:
        """Seconds until one message is allowed."""
        self.allowance(now)
        return max(0.0, (1 - self._tokens) / self._rate)

    def forgive(self) -> None:
        """Allow one message now, whatever the debt."""
        self._tokens = max(1.0, self._tokens)

    def is_full(self, now: float) -> bool:
        """Whether it is full again, like a new one."""
        self.allowance(now)
        return self._tokens >= self._burst


class Allowances:
    """Token buckets that outlive their connections: coming back brings no new one.

    A connection takes the bucket that one of its address has left last, with what is left in it,
    and a fresh one where there is none. So each of several clients behind one address has a bucket
    of its own. Every call takes O(1) steps.

    :param most: buckets that are kept; over it, those of the address that was used longest ago go.
    """

    def __init__(self, rate: float, burst: float, most: int = 65536) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._left: dict[str, list[RateLimit]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def take(self, address: str, now: float) -> RateLimit:
        """The bucket of a new connection."""
        left = self._left.pop(address, None)
        if left is None:
            return RateLimit(self._rate, self._burst, now)
        limit = left.pop()
        self._count -= 1
        if left:
            self._left[address] = left
        return limit

    def give_back(self, address: str, limit: RateLimit, now: float) -> None:
        """Keep the bucket of a connection that has ended."""
        if limit.is_full(now):
            return
        left = self._left.pop(address, [])
        left.append(limit)
        self._left[address] = left  # used last
        self._count += 1
        if self._count > self._most:
            oldest = next(iter(self._left))
            dropped = self._left[oldest]
            del dropped[0]
            self._count -= 1
            if not dropped:
                del self._left[oldest]


class AddressRates:
    """One token bucket for each address that did something lately. Every call takes O(1) steps.

    :param most: addresses that are remembered; over it, that which was used longest ago goes.
    """

    def __init__(self, rate: float, burst: float, most: int = 16384) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._limits: dict[str, RateLimit] = {}

    def __len__(self) -> int:
        return len(self._limits)

    def spend(self, address: str, now: float) -> float:
        """Count one more; returns the seconds to wait before it, 0 if it is within the rate."""
        limit = self._limits.pop(address, None)
        if limit is None:
            limit = RateLimit(self._rate, self._burst, now)
        self._limits[address] = limit
        if len(self._limits) > self._most:
            del self._limits[next(iter(self._limits))]
        limit.allowance(now)
        return limit.spend(1)

    def exhausted(self, address: str, now: float) -> bool:
        """Whether one more is not within the rate; counts nothing."""
        limit = self._limits.get(address)
        return limit is not None and not limit.allowance(now)

    def permits(self, address: str, now: float) -> bool:
        """Whether one more is within the rate; counts it if so."""
        if self.exhausted(address, now):
            return False
        self.spend(address, now)
        return True
