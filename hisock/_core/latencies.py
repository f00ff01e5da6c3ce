"""How long answers took: counts in buckets that widen with the value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: Buckets for each power of two: a value is known to 1/64 of itself.
_PARTS = 64
#: Values of 2**40 microseconds, 12 days, and more share the last bucket.
_LARGEST = 40


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram.

    :ivar up_to: the longest duration in it, in seconds; longer than all of the bar before.
    """

    up_to: float
    count: int


class Latencies:
    """LoadCounts of durations, to a microsecond or to 1.6 %, whichever is more.

    :ivar count: how many there are.
    :ivar longest: the longest of them, in seconds.
    """

    def __init__(self) -> None:
        self._counts = [0] * (_PARTS * (_LARGEST - 5))
        self.count = 0
        self.longest = 0.0
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        value = int(seconds * 1e6)
        if value < 2 * _PARTS:
            index = max(0, value)
        else:
            shift = value.bit_length() - 7
            index = min(shift * _PARTS + (value >> shift), len(self._counts) - 1)
        self._counts[index] += 1
        self.count += 1
        self._sum += seconds
        if seconds > self.longest:
            self.longest = seconds

    @property
    def mean(self) -> float:
        """The average in seconds, 0 without any."""
        return self._sum / self.count if self.count else 0.0

    def percentile(self, share: float) -> float:
        """The seconds that this share of all does not exceed; 0 without any.

        :param share: above 0, at most 1: 0.99 for p99.
        """
        wanted = share * self.count
        reached = 0
        for index, count in enumerate(self._counts):
            reached += count
            if count and reached >= wanted:
                return min(_upper(index), self.longest)
        return 0.0

    def bars(self) -> Iterator[Bar]:
        """A histogram by powers of two of a microsecond, without empty ends."""
        sums: dict[int, int] = {}
        for index, count in enumerate(self._counts):
            if count:
                power = max(0, (int(_upper(index) * 1e6) - 1).bit_length())
                sums[power] = sums.get(power, 0) + count
        if sums:
            for power in range(min(sums), max(sums) + 1):
                yield Bar(2**power / 1e6, sums.get(power, 0))


def _upper(index: int) -> float:
    """The seconds up to which values fall into a bucket."""
    if index < 2 * _PARTS:
        return (index + 1) / 1e6
    shift = index // _PARTS - 1
    return ((index - shift * _PARTS + 1) << shift) / 1e6
