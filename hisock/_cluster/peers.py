"""What a node knows of another one: its hello, and what has come from it."""

from __future__ import annotations

import time
from typing import Final

from hisock._cluster.batch import BadBatch, Head
from hisock._cluster.link import NodeHello
from hisock._cluster.records import Piece
from hisock.framing import DEFAULT_MAX_FRAME_SIZE

#: Entries sent to all and to one node alone; ``None`` while nothing is known.
Numbers = tuple[int | None, int | None]
_UNKNOWN: Final[tuple[int, Numbers]] = (0, (None, None))
#: Bytes of an entry that comes in pieces at most.
_MOST_ENTRY: Final = DEFAULT_MAX_FRAME_SIZE + 1024 * 1024


class OtherNode:
    """Another node.

    :param numbers: those that it had reached when it was given up, if it was: what it has sent
        meanwhile did not arrive here.
    :ivar here: whether its clients are known, so that it has joined as far as the program knows.
    :ivar heard: when something came from it, in the loop's time.
    :ivar number: how many changes of its roster are applied here.
    :ivar question: the number of the question for a snapshot that is open, or 0.
    :ivar asked: when that was asked.
    :ivar fresh: numbers of the clients in the snapshot that comes; ``None`` while none comes.
    :ivar suspect: whether the link has said once that it is gone.
    :ivar delay: milliseconds between sending and receiving, by the two clocks.
    """

    def __init__(self, hello: NodeHello, now: float, numbers: Numbers = (None, None)) -> None:
        self.hello = hello
        self.here = False
        self.heard = now
        self.number = 0
        self.question = 0
        self.asked = 0.0
        self.fresh: set[int] | None = None
        self.suspect = False
        self.delay = 0
        self._to_all, self._to_one = numbers
        self._pieces: list[bytes] = []
        self._pieces_size = 0

    def begin_again(self, hello: NodeHello) -> None:
        """It begins another incarnation."""
        self.hello = hello
        self._drop_pieces()

    @property
    def numbers(self) -> Numbers:
        """How many entries it has sent to all and to this node alone, as far as is known."""
        return self._to_all, self._to_one

    def accept(self, head: Head, count: int, now: float) -> int | None:
        """Take the numbers of a batch with so many entries.

        :param now: when it came, in the loop's time.
        :returns: how many entries were lost before it; ``None`` if it is a repeated one.
        """
        lost = 0
        if head.receiver:
            if self._to_one is not None:
                lost = head.to_one - self._to_one - count
                if lost < 0:
                    return None
            self._to_one = head.to_one
            if head.to_all != self._to_all:
                if self._to_all is not None:
                    lost += max(0, head.to_all - self._to_all)
                self._to_all = max(head.to_all, self._to_all or 0)
        else:
            if self._to_all is not None:
                lost = head.to_all - self._to_all - count
                if lost < 0:
                    return None
            self._to_all = head.to_all
        if lost:
            self._drop_pieces()
        self.heard, self.suspect = now, False
        self.delay = max(0, time.time_ns() // 1_000_000 - head.sent)
        return lost

    def piece(self, piece: Piece) -> bytes | None:
        """Take a piece of an entry; returns the entry, header included, when it is complete.

        :raises BadBatch: the pieces are of an entry that is too large.
        """
        if piece.index == 0:
            self._drop_pieces()
        if piece.index != len(self._pieces):
            self._drop_pieces()  # the first ones were lost
            return None
        self._pieces.append(piece.data)
        self._pieces_size += len(piece.data)
        if self._pieces_size > _MOST_ENTRY:
            self._drop_pieces()
            raise BadBatch(f"an entry is longer than {_MOST_ENTRY} bytes")
        if piece.index + 1 < piece.count:
            return None
        entry = b"".join(self._pieces)
        self._drop_pieces()
        return entry

    def _drop_pieces(self) -> None:
        self._pieces, self._pieces_size = [], 0


class Departed:
    """Nodes that have gone, so that they have to begin another incarnation to come back.

    It remembers the latest 4,096.
    """

    _MOST: Final = 4096

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, Numbers]] = {}

    def add(self, node: OtherNode) -> None:
        name = node.hello.node
        self._known.pop(name, None)
        self._known[name] = (node.hello.incarnation, node.numbers)
        if len(self._known) > self._MOST:
            del self._known[next(iter(self._known))]

    def incarnation(self, node: str) -> int:
        """The last incarnation that a node was known in; 0 if it is not among those gone."""
        return self._known.get(node, _UNKNOWN)[0]

    def numbers(self, node: str) -> Numbers:
        """The numbers that a node had reached."""
        return self._known.get(node, _UNKNOWN)[1]
