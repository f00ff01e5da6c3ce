"""What is logged, and how often."""

from __future__ import annotations

from hisock._core.rates import RateLimit


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


def error_text(exc: BaseException) -> str:
    """What an exception says, or else its type's name; some fail to say anything."""
    try:
        return str(exc) or type(exc).__name__
    except Exception:
        return type(exc).__name__
