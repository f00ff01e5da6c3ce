"""A link in memory, on the time of the running loop: partitions, outages, losses, slow nodes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from typing import Any

from hisock._cluster.link import MOST_BATCH_BYTES, Claims, LinkDown, NodeHello, Receiver


class Network:
    """What simulated links connect to: all nodes, and what happens between them.

    :param broadcasts: as a broker does it; without, each node has a connection to each other one.
    :param delay: seconds that a batch is on its way.
    :ivar lose: asked for each batch with the sender and the receiver; ``True`` loses it.
    :ivar batches: how many arrived.
    :ivar carried: bytes that arrived.
    """

    def __init__(self, broadcasts: bool = True, delay: float = 0.0002) -> None:
        self.broadcasts = broadcasts
        self.delay = delay
        self.links: dict[str, SimulatedLink] = {}
        self.names: dict[str, str] = {}
        self.lose: Any = lambda sender, receiver: False
        self.batches = 0
        self.carried = 0
        self._cuts: set[frozenset[str]] = set()
        # asyncio runs timers of the same moment in any order.
        self._under_way: deque[tuple[Any, ...]] = deque()

    def link(self) -> SimulatedLink:
        """A link of this network."""
        return SimulatedLink(self)

    def later(self, *what: Any) -> None:
        """Call a function when the delay is over, in the order of these calls."""
        self._under_way.append(what)
        asyncio.get_running_loop().call_later(self.delay, self._next)

    def _next(self) -> None:
        func, *args = self._under_way.popleft()
        func(*args)

    def cut(self, one: str, other: str) -> None:
        """Nothing goes between two nodes any more, and neither is told."""
        self._cuts.add(frozenset((one, other)))

    def heal(self) -> None:
        """Everything goes between all nodes again."""
        self._cuts.clear()

    def is_cut(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self._cuts

    def kill(self, node: str) -> None:
        """A process ends without a goodbye; the others' links learn it if they would."""
        link = self.links.pop(node)
        link.dead = True
        if not self.broadcasts:
            for other in list(self.links.values()):
                other.tell("gone", node, "its connection was closed")


class SimulatedLink:
    """One node's end of a :class:`Network`; see :class:`hisock._cluster.link.NodeLink`."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.broadcasts = network.broadcasts
        self.probes = network.broadcasts
        self.most_bytes = MOST_BATCH_BYTES
        self.limit = 1024 * 1024
        self.title = "simulated"
        self.lag = 0.0
        self.dropped = 0
        self.refused = 0
        self.claims: Claims = SimulatedClaims(self)
        self.is_up = False
        self.dead = False
        #: Whether it takes batches but does not pass them on, as if the other end did not read.
        self.stalled: set[str | None] = set()
        self._held: dict[str | None, list[tuple[str | None, bytes, int]]] = {}

    async def start(self, hello: NodeHello, receiver: Receiver) -> None:
        self.node = hello.node
        self._receiver = receiver
        others = list(self.network.links.values())
        self.network.links[self.node] = self
        self.bring_up()
        if not self.broadcasts:
            for other in others:
                other.tell("appeared", self.node)

    def bring_up(self) -> None:
        """The broker is back."""
        if not self.is_up:
            self.is_up = True
            self.tell("up")
            if not self.broadcasts:
                for other in self.network.links:
                    if other != self.node:
                        self.tell("appeared", other)

    def take_down(self, reason: str = "the broker is away") -> None:
        """The broker is away: what is held is discarded."""
        if self.is_up:
            self.is_up = False
            self.dropped += sum(held[2] for lane in self._held.values() for held in lane)
            self._held.clear()
            self.tell("down", reason)

    def tell(self, what: str, *args: Any) -> None:
        """Tell the node something, in the order of telling."""
        self.network.later(self._tell, what, args)

    def _tell(self, what: str, args: tuple[Any, ...]) -> None:
        if not self.dead:
            getattr(self._receiver, what)(*args)

    def send(self, node: str, batch: bytes, messages: int = 1) -> bool:
        if not self.is_up or self.dead or self.backlog(node) + len(batch) > self.limit:
            return False
        if not self.broadcasts and node not in self.network.links:
            return False
        self._take(node, batch, messages)
        return True

    def send_all(self, batch: bytes, messages: int = 1) -> bool:
        assert self.broadcasts
        if not self.is_up or self.dead or self.backlog(None) + len(batch) > self.limit:
            return False
        self._take(None, batch, messages)
        return True

    def _take(self, node: str | None, batch: bytes, messages: int) -> None:
        lane = None if self.broadcasts else node
        if lane in self.stalled:
            self._held.setdefault(lane, []).append((node, batch, messages))
        else:
            self._carry(node, batch)

    def stall(self, node: str | None = None) -> None:
        """Hold what is sent (to a node, without a broker), as if nobody read it."""
        self.stalled.add(node)

    def unstall(self, node: str | None = None) -> None:
        """Pass on what is held."""
        self.stalled.discard(node)
        for target, batch, _ in self._held.pop(node, []):
            self._carry(target, batch)
        self.tell("writable", node)

    def _carry(self, node: str | None, batch: bytes) -> None:
        network = self.network
        nodes = list(network.links) if node is None else [node]
        for other in nodes:
            there = network.links.get(other)
            if other == self.node or there is None:
                continue
            if network.is_cut(self.node, other) or network.lose(self.node, other):
                continue
            network.later(self._arrive, there, batch)

    def _arrive(self, there: SimulatedLink, batch: bytes) -> None:
        if there.is_up and not there.dead and not self.network.is_cut(self.node, there.node):
            self.network.batches += 1
            self.network.carried += len(batch)
            there._receiver.received(batch)

    def backlog(self, node: str | None) -> int:
        lane = None if self.broadcasts else node
        return sum(len(batch) for _, batch, _ in self._held.get(lane, ()))

    def probe(self, node: str) -> None:
        if self.is_up and node not in self.network.links:
            self.tell("gone", node, "nobody answers there")

    async def close(self, goodbye: Collection[bytes] = ()) -> None:
        for batch in goodbye:
            if self.is_up and not self.dead:
                self._carry(None, batch)
        self.is_up = False
        self.dead = True
        self.network.links.pop(self.node, None)
        if not self.broadcasts:
            for other in list(self.network.links.values()):
                other.tell("gone", self.node, "its connection was closed")


class SimulatedClaims:
    """The names of a :class:`Network`, which each operation takes a while to reach."""

    def __init__(self, link: SimulatedLink) -> None:
        self._link = link

    async def _reach(self) -> dict[str, str]:
        network = self._link.network
        await asyncio.sleep(network.delay)
        if not self._link.is_up or self._link.dead:
            raise LinkDown("the broker is away")
        return network.names

    async def claim(self, name: str, holder: str) -> str:
        return (await self._reach()).setdefault(name, holder)

    async def move(self, name: str, old: str, new: str) -> bool:
        names = await self._reach()
        if names.get(name, old) in (old, new):
            names[name] = new
        return names[name] == new

    async def release(self, name: str, holder: str) -> None:
        names = await self._reach()
        if names.get(name) == holder:
            del names[name]
