"""The sending side of a node: one ordered stream of batches to each other node.

What is put waits until the next batch, which is sent at once if the last one was sent more than
``linger`` seconds ago. With a broker, what is for all nodes goes once to all: the first entry that
is for some only ends the common batch, and from there on the batches are per node, so that the
order to each node is that of putting. With one other node only, everything goes to that node, as
Redis would send what is for all back to its sender as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final

from hisock._cluster.batch import Head, Sealer, portions
from hisock._cluster.link import NodeLink
from hisock._cluster.records import Piece, entry_of
from hisock._runtime.loop_thread import LoopThread
from hisock.framing import EntryGatherer, EntryQueue

#: Bytes of a piece's entry besides its data, at most.
_PIECE_OVERHEAD: Final = 64
#: Seconds until a stream that the link does not take is tried again, should it say nothing.
_RETRY: Final = 0.1
#: Nodes that have gone of which the number of batches is remembered.
_MOST_NUMBERS: Final = 4096


class Streams(EntryGatherer):
    """The streams of one node. Putting is allowed from any thread, the rest on the loop's.

    What the loop's thread sends to many is gathered first, with less work for each message.

    :ivar link: what carries the batches.
    :ivar up: whether the link is up.
    :ivar batches: how many were sent; ``entries`` in them, ``sent_bytes`` of them.
    :ivar lost: how many messages were dropped, each counted for each node that did not get it.
    :ivar behind: how often a stream was dropped because its node was behind.
    """

    def __init__(
        self,
        link: NodeLink,
        sealer: Sealer,
        node: str,
        thread: LoopThread,
        linger: float,
        max_waiting: int,
    ) -> None:
        super().__init__()
        self.link = link
        self.up = False
        self.incarnation = 1
        self.batches = self.entries = self.sent_bytes = self.lost = self.behind = 0
        #: What waits for each node.
        self.lanes: dict[str, EntryQueue] = {}
        #: Makes the entry that has to go before anything that is put now, if there is any.
        self.before: Callable[[], bytes | None] = lambda: None
        #: Bytes of entries that fit into a batch.
        self.room = link.most_bytes - sealer.overhead
        self._sealer = sealer
        self._node = node
        self._thread = thread
        self.is_current = thread.is_current
        self._linger = linger
        self._max_waiting = max_waiting
        self._to_all = 0
        #: Entries sent to each node alone. It outlives the lanes: a node that was taken for dead
        #: here may have noticed nothing, and takes lower numbers for repeated ones.
        self._to_one: dict[str, int] = {}
        self._common = EntryQueue()
        self._last = 0.0
        #: Whether a retry is due; each one that fails makes the next, so there is one at a time.
        self._retrying = False
        #: Whether what is for all goes to each node by itself, behind what is for that alone.
        self._split = not link.broadcasts
        #: Held while something is put or taken; for a few instructions only, but for sending.
        self.lock = threading.Lock()

    # -- putting

    def put(
        self,
        nodes: Collection[str] | None,
        entry: bytes,
        volatile: bool = False,
        push: bool = False,
    ) -> None:
        """Send an entry to some nodes, or to all of them.

        :param nodes: ``None`` for all.
        :param volatile: it is dropped first when a node is behind.
        :param push: do not wait for ``linger``: it is sent at once, or in the next iteration of the
            loop where there was a batch within ``linger``, since more may come in this one.
        """
        with self.lock:
            if self.has_gathered:
                self._take_gathered()
            if self.has_before:
                self._add_before()
            if len(entry) <= self.room:
                self._add(nodes, entry, volatile)
            else:
                for piece in self._pieces(entry):
                    self._add(nodes, piece, volatile)
            scheduled, self.scheduled = self.scheduled, True
        if not scheduled or push:
            self._schedule(push)

    def take_gathered(self) -> None:
        """Count and bound what was gathered."""
        with self.lock:
            self._take_gathered()

    def _take_gathered(self) -> None:
        """Put what was gathered, before anything else is. With the lock held."""
        if not self.up or not (self._split or len(self.lanes) == 1):
            for nodes, entry in self.take_each():
                self._add(nodes, entry, False)
            return
        self._split = True
        if self.spread(self.lanes) > self._max_waiting:
            for lane in self.lanes.values():
                if lane.size > self._max_waiting:
                    self._bound(lane, 1)

    def _pieces(self, entry: bytes) -> list[bytes]:
        size = self.room - _PIECE_OVERHEAD
        count = -(-len(entry) // size)
        return [
            entry_of(Piece(index, count, entry[index * size : (index + 1) * size]))
            for index in range(count)
        ]

    def _add(self, nodes: Collection[str] | None, entry: bytes, volatile: bool) -> None:
        lanes = self.lanes
        if not self.up:
            self.lost += len(lanes if nodes is None else nodes)
            return
        some: Iterable[EntryQueue | None] = lanes.values()
        if nodes is not None and len(nodes) != len(lanes):
            some = map(lanes.get, nodes)
        elif not self._split and len(lanes) != 1:
            if lanes:
                self._common.add(entry, volatile)
                if self._common.size > self._max_waiting:
                    self._bound(self._common, len(lanes))
            return
        self._split = True
        for lane in some:
            if lane is not None:
                lane.add(entry, volatile)
                if lane.size > self._max_waiting:
                    self._bound(lane, 1)

    def _add_before(self) -> None:
        first = self.before()
        if first is not None:
            self._add(None, first, False)

    def _bound(self, waiting: EntryQueue, receivers: int) -> None:
        if len(waiting.entries) > 1:
            self.lost += waiting.drop_volatile() * receivers
            if waiting.size > self._max_waiting:
                # The node is behind: what it misses of the roster it asks for again.
                self.lost += waiting.clear() * receivers
                self.behind += 1

    # -- sending

    def wake(self) -> None:
        """Something waits: gathered, or known to :attr:`before`. On the loop's thread."""
        with self.lock:
            scheduled, self.scheduled = self.scheduled, True
        if not scheduled:
            self._schedule(False)

    def _schedule(self, push: bool) -> None:
        if self._thread.is_current():
            self._arm(push)
        elif self._thread.running:
            self._thread.post(self._arm, push)

    def _arm(self, push: bool) -> None:
        loop = self._thread.loop
        wait = self._last + self._linger - loop.time()
        if push and wait <= 0:
            self.flush()
        elif push or wait <= 0:
            loop.call_soon(self.flush)
        else:
            loop.call_later(wait, self.flush)

    def flush(self) -> None:
        """Send what waits."""
        with self.lock:
            self.scheduled = False
            if self.has_gathered:
                self._take_gathered()
            if self.has_before:
                self._add_before()
            if not self.up:
                return
            self._last = self._thread.loop.time()
            done = not self._common.entries or self._flush_common()
            if done:
                for node, lane in self.lanes.items():
                    if lane.entries:
                        done = self._flush_lane(node, lane) and done
                self._split = not (done and self.link.broadcasts)
        if not done and not self._retrying:
            self._retrying = True
            self._thread.loop.call_later(_RETRY, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        if self._common.entries or any(lane.entries for lane in self.lanes.values()):
            self.flush()

    def _portions(self, waiting: EntryQueue) -> Iterable[list[bytes]]:
        """What waits, a batch each."""
        if waiting.size <= self.room:
            return (waiting.entries,)
        return portions(list(waiting.entries), self.room)

    def _flush_common(self) -> bool:
        common = self._common
        for portion in self._portions(common):
            number = self._to_all + len(portion)
            batch = self._seal("", number, 0, portion)
            if not self.link.send_all(batch, len(portion) * len(self.lanes)):
                return False
            self._to_all = number
            self._count(common, portion, batch)
        return True

    def _flush_lane(self, node: str, lane: EntryQueue) -> bool:
        for portion in self._portions(lane):
            number = self._to_one.get(node, 0) + len(portion)
            batch = self._seal(node, self._to_all, number, portion)
            if not self.link.send(node, batch, len(portion)):
                return False
            self._to_one[node] = number
            self._count(lane, portion, batch)
        return True

    def _count(self, waiting: EntryQueue, portion: list[bytes], batch: bytes) -> None:
        waiting.sent(len(portion))
        self.batches += 1
        self.entries += len(portion)
        self.sent_bytes += len(batch)

    def _seal(self, receiver: str, to_all: int, to_one: int, entries: list[bytes]) -> bytes:
        sent = time.time_ns() // 1_000_000
        head = Head(self._node, self.incarnation, receiver, to_all, to_one, sent)
        return self._sealer.seal(head, entries)

    def tell(self, node: str | None, entry: bytes) -> None:
        """Send an entry at once, to a node that may have no stream, or to everyone who hears.

        It is not in order with what waits.
        """
        if not self.up:
            return
        if node is None:
            if not self.link.broadcasts:
                for each in list(self.lanes):
                    self.tell(each, entry)
                return
            if self.link.send_all(self._seal("", self._to_all + 1, 0, [entry])):
                self._to_all += 1
            return
        number = self._to_one.get(node, 0) + 1
        if self.link.send(node, self._seal(node, self._to_all, number, [entry])):
            self._to_one[node] = number
            while len(self._to_one) > _MOST_NUMBERS + len(self.lanes):
                del self._to_one[next(other for other in self._to_one if other not in self.lanes)]

    # -- nodes

    def open_lane(self, node: str) -> None:
        """There is a node to send to."""
        with self.lock:
            self._take_gathered()
            self.ident = self._thread.ident
            self.lanes.setdefault(node, EntryQueue())

    def close_lane(self, node: str) -> None:
        """A node is gone; what waits for it is lost."""
        with self.lock:
            self._take_gathered()
            lane = self.lanes.pop(node, None)
            if lane is not None:
                self.lost += lane.clear()
            if not self.lanes:
                self._common.clear()

    def went_down(self) -> None:
        """The link is down: what waits is dropped, since it would be stale later."""
        with self.lock:
            self._take_gathered()
            self.up = False
            self._split = not self.link.broadcasts
            self.lost += self._common.clear() * len(self.lanes)
            for lane in self.lanes.values():
                self.lost += lane.clear()

    def goodbye(self, entry: bytes) -> list[bytes]:
        """The batches that end all streams."""
        if self.link.broadcasts:
            return [self._seal("", self._to_all + 1, 0, [entry])]
        return []

    def waiting_bytes(self) -> int:
        """Bytes that wait to be taken by the link. From any thread."""
        waiting = sum(lane.size for lane in list(self.lanes.values()))
        return self.gathered_bytes + self._common.size + waiting
