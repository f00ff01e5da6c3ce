"""A node of a cluster: which others there are, which are alive, and what has come from them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from typing import Any, Final, Literal, Protocol

import msgspec

from hisock._cluster.batch import PUBLISHER, Head, Sealer
from hisock._cluster.config import Cluster
from hisock._cluster.incoming import MOST_SKEW, MOST_STRANGERS, Incoming
from hisock._cluster.link import PROTOCOL, NodeHello, NodeLink
from hisock._cluster.peers import Departed, OtherNode
from hisock._cluster.records import (
    Beat,
    GivenUp,
    Goodbye,
    Missing,
    Piece,
    WhoAreYou,
    entry_of,
)
from hisock._cluster.streams import Streams
from hisock._core.log_fields import fields
from hisock._core.reporting import one_line
from hisock._runtime.loop_thread import LoopThread

logger = logging.getLogger("hisock.cluster")

#: Seconds between two signs of life.
BEAT: Final = 1.0
#: Seconds between two probes of the next node in the ring.
PROBE: Final = 0.5
#: Seconds after which a node that the link reports as gone is probed again, to be sure.
_SURE: Final = 0.25
#: Seconds after the link is up in which the other nodes introduce themselves.
_SETTLING: Final = 0.3
NodeState = Literal["joining", "up", "down", "closed"]


class NodeWatcher(Protocol):
    """Is told of the other nodes. Everything is called on the loop's thread."""

    def node_appeared(self, node: OtherNode) -> None:
        """A node says hello, or begins another incarnation."""

    def node_left(self, node: OtherNode, reason: str) -> None:
        """A node is gone."""

    def link_up(self) -> None: ...

    def link_down(self, reason: str) -> None: ...

    def given_up(self) -> None:
        """The others took this node for dead; it has begun another incarnation."""

    def from_publisher(self, sender: str, record: Any) -> None:
        """A publisher wants something: a record, or ``(target, frame)``."""


class Node:
    """This process in its cluster: a :class:`hisock._cluster.link.Receiver`.

    :param hello: what it says of itself.
    :ivar others: the nodes that are known, by id.
    :ivar state: ``"joining"`` until the others have introduced themselves, then ``"up"``;
        ``"down"`` while the link is, ``"closed"`` in the end.
    :ivar handlers: what handles each kind of record, called with the node and the record.
    :ivar messages: handles messages for many, each a target and a frame.
    :ivar counts: ``refused`` batches, ``repeated`` ones, ``missed`` entries, records of
        ``unknown`` kinds.
    """

    def __init__(
        self,
        cluster: Cluster,
        link: NodeLink,
        hello: NodeHello,
        thread: LoopThread,
        membership: NodeWatcher,
    ) -> None:
        self.me = hello.node
        self.hello = hello
        self.link = link
        self.others: dict[str, OtherNode] = {}
        self.state: NodeState = "joining"
        self.counts: Counter[str] = Counter()
        self.sealer = Sealer(cluster.app, cluster.key)
        self.streams = Streams(
            link, self.sealer, self.me, thread, cluster.linger, cluster.max_waiting
        )
        self.handlers: dict[type, Callable[[OtherNode, Any], None]] = {
            Goodbye: lambda node, record: self.leave(node, "it said goodbye"),
            GivenUp: lambda node, record: self._given_up(node.hello.node, record),
            Missing: lambda node, record: self._missing(record),
            WhoAreYou: lambda node, record: self._introduce(node.hello.node),
            NodeHello: lambda node, record: None,
        }
        self.messages: Callable[[list[tuple[str, bytes | None]]], None] = lambda messages: None
        #: The figures of the next sign of life.
        self.beat: Callable[[], Beat] = lambda: Beat(0, 0)
        #: Set when the others have introduced themselves for the first time.
        self.settled = asyncio.Event()
        self.since = 0.0
        self.closing = False
        self._cluster = cluster
        self._thread = thread
        self._membership = membership
        self._departed = Departed()
        self._strangers: dict[str, float] = {}
        #: Nodes that the link has a connection to, but which are not known (any more).
        self._unmet: set[str] = set()
        self._incoming = Incoming(self.sealer, self.me, self.counts)

    @property
    def now(self) -> float:
        return self._thread.loop.time()

    async def start(self) -> None:
        """Begin to connect."""
        self.since = self.now
        await self.link.start(self.hello, self)
        self._thread.later(BEAT, self._beat)
        if self.link.probes:
            self._thread.later(PROBE, self._probe)

    async def close(self) -> None:
        """Say goodbye, and end the link."""
        self.state, self.closing = "closed", True
        entry = entry_of(Goodbye())
        if not self.link.broadcasts:
            self.streams.put(None, entry)
        self.streams.flush()
        goodbye = self.streams.goodbye(entry)
        self.streams.up = False
        await self.link.close(goodbye)

    def ring(self) -> list[str]:
        """The ids of all nodes that have joined, this one included, in order."""
        return sorted([self.me, *(name for name, node in self.others.items() if node.here)])

    # -- the link

    def up(self) -> None:
        """The link is up: introduce this node, and compare rosters."""
        if self.closing:
            return
        self.streams.up = True
        self.state, self.since = "joining", self.now
        for node in self.others.values():
            node.heard = self.since
        self._introduce(None)
        self._membership.link_up()
        self._thread.later(_SETTLING, self._settle)

    def _settle(self) -> None:
        if self.state != "joining":
            return
        waited = self.now - self.since
        if waited < _SETTLING or (
            waited < self._cluster.dead_after and not all(n.here for n in self.others.values())
        ):
            self._thread.later(0.05, self._settle)
        else:
            self.state = "up"
            self.settled.set()

    def down(self, reason: str) -> None:
        """The link is down: nobody can tell who is gone, so all stay known for a while."""
        if self.closing or self.state == "down":
            return
        self.state, self.since = "down", self.now
        self.streams.went_down()
        said = fields("cluster_unreachable", reason=reason)
        logger.warning("the link to the other nodes is down: %s", one_line(reason), extra=said)
        self._membership.link_down(reason)
        since = self.since
        self._thread.later(self._cluster.grace, lambda: self._end_grace(since))

    def _end_grace(self, since: float) -> None:
        if self.state == "down" and self.since == since:
            for node in list(self.others.values()):
                self.leave(node, "the link to it is down")

    def appeared(self, node: str) -> None:
        if node not in self.others:
            self._unmet.add(node)
        self._introduce(node)

    def gone(self, node: str, reason: str) -> None:
        other = self.others.get(node)
        if other is None or self.closing:
            self._unmet.discard(node)
        elif not self.link.broadcasts:
            self.leave(other, reason)
            self._unmet.discard(node)
        elif other.heard <= self.since and self.now - self.since < self._cluster.dead_after:
            pass  # after an outage it may not be back yet, and silence will tell
        elif other.suspect:
            self.leave(other, reason)
            self.streams.put(None, entry_of(Missing(node, other.hello.incarnation)), push=True)
        else:
            other.suspect = True
            self._thread.later(_SURE, lambda: self._make_sure(other))

    def _missing(self, record: Missing) -> None:
        """Another node has found one missing that only its neighbour in the ring probes."""
        other = self.others.get(record.node)
        if other is not None and other.hello.incarnation == record.incarnation:
            other.suspect = True
            self._make_sure(other)

    def _make_sure(self, node: OtherNode) -> None:
        if self.others.get(node.hello.node) is node and node.suspect:
            self.link.probe(node.hello.node)

    def writable(self, node: str | None) -> None:
        self.streams.flush()

    # -- time

    def _beat(self) -> None:
        if self.closing:
            return
        self.streams.put(None, entry_of(self.beat()))
        self._call_out()
        deadline = self.now - self._cluster.dead_after
        if self.state != "down" and self.since < deadline:
            for node in list(self.others.values()):
                if node.heard < deadline:
                    self.leave(node, f"it was silent for {self._cluster.dead_after:g} seconds")
        self._thread.later(BEAT, self._beat)

    def _call_out(self) -> None:
        """Look for nodes that may be there again, and took this one for dead likewise."""
        if not self.link.broadcasts:
            for name in self._unmet:
                self._introduce(name)
        elif len(self.others) <= 1:
            self._introduce(None)  # signs of life go to the one that is known

    def _probe(self) -> None:
        if self.closing:
            return
        if self.streams.up and self.others:
            ring = sorted([self.me, *self.others])
            self.link.probe(ring[(ring.index(self.me) + 1) % len(ring)])
        self._thread.later(PROBE, self._probe)

    # -- coming and going

    def _introduce(self, node: str | None) -> None:
        self.streams.tell(node, entry_of(self.hello))

    def leave(self, node: OtherNode, reason: str) -> None:
        """A node is gone."""
        name = node.hello.node
        if self.others.get(name) is not node:
            return
        del self.others[name]
        self._departed.add(node)
        self.streams.close_lane(name)
        if not self.link.broadcasts:
            self._unmet.add(name)
        said = fields("cluster_node_ended", reason=reason)
        logger.info("the node %s has left the cluster: %s", name, one_line(reason), extra=said)
        self._membership.node_left(node, reason)

    def _given_up(self, by: str, record: GivenUp) -> None:
        if record.incarnation != self.hello.incarnation:
            return
        said = fields("cluster_node_ended")
        logger.warning("the other nodes took this one for dead; it begins anew", extra=said)
        again = msgspec.structs.replace(self.hello, incarnation=self.hello.incarnation + 1)
        self.hello = again
        self.streams.incarnation = again.incarnation
        self._introduce(None)
        if by not in self.others:
            self._introduce(by)
        self._membership.given_up()

    def _fits(self, hello: NodeHello) -> bool:
        """Whether a node can be one of this cluster; if not, that is logged."""
        mine = self.hello
        for name, theirs, ours in (
            ("app", hello.app, mine.app),
            ("protocol", hello.protocol, PROTOCOL),
            ("header_len", hello.header_len, mine.header_len),
            ("codec", hello.codec, mine.codec),
            ("unique_names", hello.unique, mine.unique),
        ):
            if theirs != ours:
                self.counts["refused"] += 1
                if self._is_time(hello.node):
                    logger.error(
                        "the node %s on %s is refused: its %s is %s, not %s",
                        hello.node,
                        one_line(hello.host, 100),
                        name,
                        one_line(repr(theirs), 100),
                        repr(ours),
                        extra=fields("cluster_refused"),
                    )
                return False
        return True

    def _is_time(self, stranger: str) -> bool:
        """Whether a stranger was not answered within the last second."""
        last = self._strangers.pop(stranger, None)
        self._strangers[stranger] = self.now if last is None or self.now - last >= 1 else last
        if len(self._strangers) > MOST_STRANGERS:
            del self._strangers[next(iter(self._strangers))]
        return self._strangers[stranger] != last

    # -- receiving

    def received(self, batch: bytes) -> None:
        """A batch has come; one that does not parse is dropped as a whole."""
        now = self._thread.loop.time()
        opened = None if self.closing else self._incoming.open(batch, now)
        if opened is None:
            return
        head, records, count, plain = opened
        if head.flags & PUBLISHER:
            if self._incoming.is_new(head):
                for record in records:
                    self._membership.from_publisher(head.sender, record)
            return
        node = self.others.get(head.sender)
        if node is not None and head.incarnation < node.hello.incarnation:
            return
        if node is None or head.incarnation != node.hello.incarnation:
            node = self._meet(head, records)
            if node is None:
                return
        lost = node.accept(head, count, now)
        if lost is None:
            self.counts["repeated"] += 1
            return
        self.counts["missed"] += lost
        if plain:
            self.messages(records)
        else:
            self._take(node, records)

    def _take(self, node: OtherNode, records: list[Any]) -> None:
        for kind, run in groupby(records, type):
            if kind is tuple:
                self.messages(list(run))
                continue
            for record in run:
                if kind is Piece:
                    self._take(node, self._incoming.unpack(node, record, self.now))
                else:
                    self.handlers[kind](node, record)

    def _meet(self, head: Head, records: list[Any]) -> OtherNode | None:
        """A batch of a node that is not known, at least not in this incarnation."""
        name = head.sender
        if self.sealer.keyed and abs(time.time() - head.sent / 1000) > MOST_SKEW:
            self.counts["refused"] += 1
            return None
        for each in records:
            if type(each) is GivenUp:
                self._given_up(name, each)
            elif type(each) is WhoAreYou:
                self._introduce(name)
        if head.incarnation <= self._departed.incarnation(name):
            # A goodbye may be followed by what was on its way; only a living node goes on.
            if self._is_time(name) and not any(type(each) is Goodbye for each in records):
                self.streams.tell(name, entry_of(GivenUp(head.incarnation)))
            return None
        hello = next((each for each in records if type(each) is NodeHello), None)
        if hello is None:
            if self._is_time(name):
                self.streams.tell(name, entry_of(WhoAreYou()))
            return None
        if (hello.node, hello.incarnation) != (name, head.incarnation) or not self._fits(hello):
            return None
        return self._welcome(hello)

    def _welcome(self, hello: NodeHello) -> OtherNode:
        self._unmet.discard(hello.node)
        node = self.others.get(hello.node)
        if node is None:
            numbers = self._departed.numbers(hello.node)
            node = self.others[hello.node] = OtherNode(hello, self.now, numbers)
            self.streams.open_lane(hello.node)
            self._introduce(hello.node)
        else:
            node.begin_again(hello)
        self._membership.node_appeared(node)
        return node
