"""A token bucket, without a clock of its own."""

from __future__ import annotations


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
