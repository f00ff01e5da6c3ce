"""The clients that have one name, and which of them joined first."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar


class Numbered(Protocol):
    """A client with its place in the order of joining."""

    @property
    def joined(self) -> int: ...


N = TypeVar("N", bound=Numbered)

#: Stale numbers that the heap may hold, besides as many as there are clients, before it is rebuilt.
_MOST_GONE = 64


class Namesakes(Generic[N]):
    """The clients that have one name. Adding and removing one costs O(log n).

    The loop's thread changes it; other threads may read :attr:`first` at any time, because it is
    replaced in one step.

    :ivar first: the client that joined first.
    """

    __slots__ = ("_heap", "_living", "_numbers", "first")

    def __init__(self, client: N) -> None:
        self.first = client
        self._living = 1
        #: By place in the order of joining; ``None`` for a stale number that is still in the heap.
        self._numbers: dict[int, N | None] = {client.joined: client}
        self._heap = [client.joined]

    def __len__(self) -> int:
        return self._living

    def add(self, client: N) -> None:
        """A client takes the name."""
        if client.joined not in self._numbers:
            heappush(self._heap, client.joined)
        self._numbers[client.joined] = client
        self._living += 1
        self._choose()

    def remove(self, client: N) -> None:
        """A client gives up the name, which others still have."""
        self._numbers[client.joined] = None
        self._living -= 1
        # Amortised O(1): each number dropped here was added once.
        if len(self._heap) > 2 * self._living + _MOST_GONE:
            self._drop_gone()
        self._choose()

    def _drop_gone(self) -> None:
        self._numbers = {
            number: client for number, client in self._numbers.items() if client is not None
        }
        self._heap = list(self._numbers)
        heapify(self._heap)

    def _choose(self) -> None:
        while (first := self._numbers[self._heap[0]]) is None:
            del self._numbers[heappop(self._heap)]
        self.first = first
