"""The clients that have one name, and which of them joined first."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar


class Numbered(Protocol):
    """A client with its place in the order of joining."""

    @property
    def joined(self) -> int: ...


N = TypeVar("N", bound=Numbered)

#: Numbers of clients that have gone, which are kept before the rest is looked through.
_MOST_GONE = 64


class Namesakes(Generic[N]):
    """The clients that have one name. To add and to remove one costs O(log n) steps.

    The loop's thread changes it; others may read :attr:`first` meanwhile, which is one attribute
    and always right.

    :ivar first: the client that joined first.
    """

    __slots__ = ("_heap", "_living", "_numbers", "first")

    def __init__(self, client: N) -> None:
        self.first = client
        self._living = 1
        #: By place in the order of joining; ``None`` for one that has gone and is in the heap yet.
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
        """A client that is not the only one gives the name up."""
        self._numbers[client.joined] = None
        self._living -= 1
        # Each that is dropped here has been added before, so that this is paid for.
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
