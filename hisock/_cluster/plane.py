"""A server's part in a cluster: a :class:`hisock._server.backplane.Backplane`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from hisock._cluster.alone import new_hello
from hisock._cluster.asking import Questions
from hisock._cluster.config import Cluster
from hisock._cluster.delivery import LETTERS, Delivery, Outgoing
from hisock._cluster.directory import ClusterDirectory
from hisock._cluster.link import NodeHello
from hisock._cluster.links import make_link
from hisock._cluster.names import Names
from hisock._cluster.node import Node
from hisock._cluster.orders import Orders
from hisock._cluster.own import OwnRoster, resume_hash, row_of
from hisock._cluster.peers import OtherNode
from hisock._cluster.records import (
    Answer,
    Beat,
    Cancel,
    Changed,
    Delta,
    Left,
    Moved,
    Order,
    Portion,
    Question,
    Resync,
    Spread,
)
from hisock._cluster.replica import Replica
from hisock._cluster.roster import ClusterRoster, Remote, RemoteInfo
from hisock._cluster.view import NodeInfo
from hisock._core import protocol
from hisock._core.addresses import HIDDEN, client_addr
from hisock._core.client_info import ClientInfo, ClientRef
from hisock._runtime.patience import within
from hisock._server.audience import Audience
from hisock._server.directory import OwnDirectory
from hisock._server.stats import ClusterStats

if TYPE_CHECKING:
    from hisock._server.connection import Connection
    from hisock._server.hub import Hub

#: Seconds that a server waits at its start for the others to introduce themselves.
_PATIENCE: Final = 2.0
#: Seconds between portions of names that are looked after, to leave the store to those in need.
_PAUSE: Final = 0.25
#: Clients of a node that has gone which are removed in one iteration of the loop.
_AT_ONCE: Final = 500
#: Bits of a client's number that are its node's own; the rest tell nodes apart. JavaScript's
#: numbers have 53 bits.
_NUMBER_BITS: Final = 32
_NODE_BITS: Final = 20


class Plane:
    """Connects one server with the others of its cluster.

    :ivar node: the other nodes.
    :ivar roster: the clients of the other nodes.
    :ivar delivery: messages to and from them.
    :ivar asking: calls to and from them.
    """

    def __init__(self, cluster: Cluster, hub: Hub, own: OwnDirectory) -> None:
        self.cluster = cluster
        self.hub = hub
        self.roster = ClusterRoster()
        hello = new_hello(
            cluster.app,
            hub.header_len,
            hub.events.codec,
            address=cluster.address,
            unique=hub.options.unique_names,
        )
        me = hello.node
        link = make_link(cluster.url)
        self.node = Node(cluster, link, hello, hub.thread, self)
        streams = self.node.streams
        self.replica = Replica(self.roster, streams, self, lambda: self.node.now)
        self.own = OwnRoster(streams, hub.thread, lambda: hub.registry)
        self.delivery = Delivery(hub, self.roster, streams)
        self.pass_on, self.reach = streams.pass_on, self.delivery.reach
        self.asking = Questions(streams, hub.events.codec)
        self.orders = Orders(self)
        self.own_directory = own
        self.directory = ClusterDirectory(self, own)
        self.names = Names(me, link.claims, self._is_alive)
        hub.registry.number_from(int(me, 16) % (1 << _NODE_BITS) << _NUMBER_BITS)
        self.node.beat = lambda: Beat(self.own.number, len(hub.registry))
        self.node.messages = self.delivery.take_all
        self.node.handlers |= {
            Answer: self.asking.take_answer,
            Beat: self.replica.beat,
            Cancel: self.asking.take_cancel,
            Delta: self.replica.delta,
            NodeHello: self.replica.greeted,
            Order: self.orders.take,
            Portion: self.replica.portion,
            Question: self.asking.take_question,
            Resync: lambda node, record: self.own.snapshot(node.hello.node, record.question),
            Spread: self.delivery.take_spread,
        }
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the server's side

    async def start(self) -> None:
        await self.node.start()
        with contextlib.suppress(asyncio.TimeoutError):
            await within(_PATIENCE, self.node.settled.wait())

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await self.node.close()

    def claim(
        self, connection: Connection, name: str | None, done: Callable[[str | None], None]
    ) -> bool:
        if not self.hub.options.unique_names or self.names.holds(connection, name):
            return False
        ghost = self._ghost_of(connection)
        if ghost is not None:
            self.orders.give(ghost, Order("replace", ghost.number))
        assert name is not None

        def settled(refusal: str | None) -> None:
            done(refusal)
            if refusal is None and (connection.ended or connection.info.name != name):
                # The server refused it for another reason.
                self._let_go(connection, None if connection.ended else connection.info.name)

        self.hub.decisions.ask(
            connection,
            lambda: self.names.claim(
                connection, name, lambda: self._ghost_of(connection) is not None
            ),
            settled,
            lambda exc: done("the name could not be claimed"),
        )
        return True

    def _ghost_of(self, connection: Connection) -> Remote | None:
        """The connection that a client which comes back still has to another node."""
        secret = connection.resume
        return None if secret is None else self.roster.resuming(resume_hash(secret))

    def admitted(self, client: ClientInfo) -> None:
        connection: Connection = client._peer
        ghost = self._ghost_of(connection)
        if ghost is not None:
            self.orders.give(ghost, Order("replace", ghost.number))
        self.own.note(row_of(connection))

    def changed(self, old: ClientInfo, new: ClientInfo) -> None:
        connection: Connection = new._peer
        self.own.note(Changed(connection.joined, new.name, new.group))
        if old.name != new.name:
            self._let_go(connection, new.name)

    def moved(self, client: ClientInfo, room: str, inside: bool) -> None:
        self.own.note(Moved(client._peer.joined, room, inside))

    def left(self, client: ClientInfo) -> None:
        connection: Connection = client._peer
        self.own.note(Left(connection.joined))
        self._let_go(connection, None)

    def abandoned(self, connection: Connection) -> None:
        if self.names.holds_any(connection):
            self._let_go(connection, None)

    def _let_go(self, connection: Connection, keep: str | None) -> None:
        if self.hub.options.unique_names:
            self.begin(self.names.let_go(connection, keep))

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something beside."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def describe(self, who: str) -> bytes | None:
        hide = self.hub.options.hide_addresses
        client = self.find(who)
        return None if client is None else self._description(client, hide)

    def _description(self, client: Remote, hide: bool) -> bytes:
        addr = (HIDDEN, client.number) if hide else client.addr
        return protocol.encode_client(addr, client.name, client.group)

    def publish(
        self,
        audience: Audience,
        command: str,
        message: bytes | None,
        volatile: bool,
        latest: str | None,
    ) -> int:
        kind, name, refs, exclude = audience
        nodes = self.reach[kind].get(name)
        if nodes is None:
            return 0
        without = None if exclude is None else self.elsewhere(exclude)
        ready = Outgoing(command, message, self.hub.header_len, volatile, latest)
        if kind == "clients":
            found = dict.fromkeys(one for ref in refs if (one := self.elsewhere(ref)) is not None)
            if without is not None:
                found.pop(without, None)
            return self.delivery.to_some(found, ready)
        return self.delivery.to_many(LETTERS[kind], name, nodes, ready, without)

    def leads(self) -> bool:
        return self.node.state == "up" and self.leader() == self.node.me

    def leader(self) -> str:
        """The id of the node that leads: the oldest one."""
        hellos = [self.node.hello, *(n.hello for n in list(self.node.others.values()) if n.here)]
        return min(hellos, key=lambda hello: (hello.started, hello.node)).node

    def stats(self) -> ClusterStats:
        node, streams = self.node, self.node.streams
        others = [other for other in list(node.others.values()) if other.here]
        return ClusterStats(
            node=node.me,
            state=node.state,
            link=node.link.title,
            nodes={o.hello.node: len(self.roster.nodes.get(o.hello.node, ())) for o in others},
            batches_out=streams.batches,
            entries_out=streams.entries,
            bytes_out=streams.sent_bytes,
            waiting_bytes=streams.waiting_bytes(),
            lost=streams.lost + node.link.dropped,
            behind=streams.behind,
            missed=node.counts["missed"],
            repeated=node.counts["repeated"],
            refused=node.counts["refused"] + node.link.refused,
            unknown=node.counts["unknown"],
            resyncs=self.replica.resyncs,
            lag=node.link.lag,
            delays={o.hello.node: o.delay / 1000 for o in others},
        )

    # -- look-ups, from any thread

    def find(self, client: ClientRef | Any) -> Remote | None:
        """A client of another node that the program names, or ``None``."""
        roster = self.roster
        if isinstance(client, str):
            addr = client_addr(client)
            if addr is None:
                return next(iter(roster.named(client)), None)
            client = addr
        elif type(client) is RemoteInfo:
            return roster.get(client.node, client.number)
        elif isinstance(client, ClientInfo):
            return roster.at(client.addr)
        elif isinstance(client, dict) and "ip" in client:
            return self.find(client["ip"])
        if isinstance(client, (tuple, list)) and len(client) >= 2:
            if client[0] == HIDDEN:
                return roster.numbered(client[1])
            return roster.at(client)
        return None

    def elsewhere(self, client: ClientRef | Any) -> Remote | None:
        """The same, unless a client of this process is meant: those come first."""
        if type(client) is RemoteInfo:
            return self.find(client)
        if isinstance(client, ClientInfo) and client._outbox in self.hub.registry.everyone:
            return None
        if isinstance(client, str) and self.hub.registry.lookup(client) is not None:
            return None
        found = self.find(client)
        if found is not None and not isinstance(client, str):
            own = self.hub.registry.lookup(found.ip)
            return None if own is not None else found
        return found

    # -- the cluster's side

    def node_appeared(self, node: OtherNode) -> None:
        self.replica.ask(node)

    def node_is_here(self, node: OtherNode) -> None:
        for client in list(self.roster.nodes[node.hello.node].values()):
            self.client_joined(client)
        self.hub.events.fire_event("node_join", NodeInfo.of(node.hello))

    def node_left(self, node: OtherNode, reason: str) -> None:
        name = node.hello.node
        self.own.forget(name)
        self.asking.node_left(name)
        self._forget(node, list(self.roster.nodes.get(name, {}).values()), 0)

    def _forget(self, node: OtherNode, clients: list[Remote], begin: int) -> None:
        """Remove the clients of a node that is gone, some in each iteration of the loop."""
        end = begin + _AT_ONCE
        for client in clients[begin:end]:
            self.roster.remove(client)
            if node.here:
                self.client_left(client)
        if end < len(clients):
            self.hub.loop.call_soon(self._forget, node, clients, end)
            return
        self.roster.forget(node.hello.node)
        if node.here and self.hub.options.unique_names:
            self._settle_names_of(clients)
        if node.here and self.hub.events.handles_event("node_leave"):
            infos = [client.info for client in clients]
            self.hub.events.fire_event("node_leave", NodeInfo.of(node.hello), infos)

    def _settle_names_of(self, gone: list[Remote]) -> None:
        if self.leads():
            names = [client.name for client in gone if client.name is not None]
            self.begin(self.names.clean_up(names))
        # That node may have taken this one for dead, and given its names to others, before it went
        # away itself; then nobody is left to say so.
        self.begin(self.names.claim_again(self._lost_name, pause=_PAUSE))

    def client_joined(self, client: Remote) -> None:
        self._announce(protocol.CLIENT_JOINED, client)

    def client_left(self, client: Remote) -> None:
        self._announce(protocol.CLIENT_LEFT, client)

    def _announce(self, event: bytes, client: Remote) -> None:
        options = self.hub.options
        if options.announce == "none" or (options.announce == "group" and client.group is None):
            return
        data = self._description(client, options.hide_addresses)
        frame = protocol.build_reserved(event, data, self.hub.header_len)
        self.hub.announcements.announce(event, frame, client.group, (client.node, client.number))

    def link_up(self) -> None:
        for node in self.node.others.values():
            self.replica.ask(node)
        self._settle_names()

    def link_down(self, reason: str) -> None:
        self.asking.link_down()

    def given_up(self) -> None:
        self._settle_names()

    def _settle_names(self) -> None:
        if self.hub.options.unique_names:
            self.begin(self.names.claim_again(self._lost_name))

    def _lost_name(self, connection: Connection, name: str) -> None:
        if not connection.ended:
            reason = f"the name {name!r} was given to another client while the cluster was apart"
            self.hub.leave(connection, "kicked", reason, goodbye=True)

    def _is_alive(self, node: str) -> bool:
        return node == self.node.me or node in self.node.others or self.node.state != "up"

    def from_publisher(self, sender: str, record: Any) -> None:
        self.orders.published(sender, record)
