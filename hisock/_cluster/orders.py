"""What a node has done to clients of other nodes, and what publishers want."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hisock._cluster.peers import OtherNode
from hisock._cluster.records import Answer, Moved, Named, Order, Question, Spread, entry_of
from hisock._cluster.roster import Remote

if TYPE_CHECKING:
    from hisock._cluster.plane import Plane
    from hisock._server.connection import Connection


#: Seconds in which the node of a client confirms that it is in a room.
_CONFIRMED: Final = 2.0


class Orders:
    """Gives orders to other nodes, and carries theirs out. On the loop's thread."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def give(self, client: Remote, order: Order) -> None:
        """Have a client's node do something to it."""
        self._plane.node.streams.put([client.node], entry_of(order), push=True)

    def move(self, client: Remote, room: str, inside: bool) -> None:
        """Have a client's node put it into a room, or take it out.

        The roster has it at once, so that what is sent to the room from here goes there too.
        """
        order = Order("join" if inside else "leave", client.number, room)
        self.give(client, order)
        if self._plane.roster.get(client.node, client.number) is client:
            self._plane.roster.move(client, Moved(client.number, room, inside))
            guess = (client.node, client.number, room)
            self._plane.replica.guesses.add(guess)
            self._plane.hub.thread.later(_CONFIRMED, lambda: self._check(guess))

    def _check(self, guess: tuple[str, int, str]) -> None:
        """Make up for an order that got lost: its node does not confirm what was guessed."""
        replica = self._plane.replica
        node = self._plane.node.others.get(guess[0])
        if guess in replica.guesses:
            replica.guesses.discard(guess)
            if node is not None:
                replica.ask(node)

    def take(self, node: OtherNode, order: Order) -> None:
        """Another node wants something done to a client of this one."""
        peer = self._plane.hub.registry.numbered(order.number)
        if peer is None:
            return  # it has gone meanwhile
        if order.what == "kick":
            self._plane.hub.disconnect(peer, order.force, order.call_func)
        elif order.what == "replace":
            self._plane.hub.leave(peer, "replaced", "its client came back", at_once=True)
        elif order.what in ("join", "leave"):
            # It may be in as many rooms as it may: the other node learns that where it misses the
            # confirmation.
            with contextlib.suppress(ValueError):
                self._plane.own_directory.move(peer.info, order.room, order.what == "join")
        else:
            self._plane.node.counts["unknown"] += 1

    # -- publishers

    def published(self, sender: str, record: Any) -> None:
        """A publisher wants something."""
        delivery = self._plane.delivery
        if type(record) is tuple:
            delivery.take_all([record])
        elif type(record) is Spread:
            delivery.take_spread(None, record)
        elif type(record) is Named:
            self._to_named(record)
        elif type(record) is Question and self._plane.leads():
            answer = self._look_up(record)
            self._plane.node.streams.tell(sender, entry_of(answer))
        else:
            # A publisher is no node: it has no clients, and nothing to answer.
            self._plane.node.counts["unknown"] += type(record) is not Question

    def _to_named(self, named: Named) -> None:
        peers = [peer for ref in named.refs if (peer := self._meant(ref)) is not None]
        if named.what == "kick":
            for peer in peers:
                self._plane.hub.disconnect(peer, named.force, named.call_func)
        elif named.what == "send":
            members = {peer.outbox: peer for peer in peers}
            self._plane.delivery.write(
                members, named.frame, named.old, named.volatile, named.latest
            )
        else:
            self._plane.node.counts["unknown"] += 1

    def _meant(self, ref: str) -> Connection | None:
        """The client of this node that a publisher names, unless it is another node's to answer.

        Of nodes that have one of that name, the one with the lowest id does, as each of them knows.
        """
        own = self._plane.hub.registry.lookup(ref)
        if own is None or own.info.name != ref:
            return own
        me = self._plane.node.me
        return None if any(one.node < me for one in self._plane.roster.named(ref)) else own

    def _look_up(self, question: Question) -> Answer:
        """Answer a publisher's question: ``$client``, ``$group``, ``$room`` or ``$count``.

        The answer is in MessagePack: ``[ip, port, name, group, node]`` for each client.
        """
        directory = self._plane.directory
        text = (question.message or b"").decode("utf-8", "replace")
        try:
            if question.command == "$client":
                found: Any = [directory.info(text)]
            elif question.command == "$group":
                found = directory.group(text)
            elif question.command == "$room":
                found = directory.room(text)
            elif question.command == "$count":
                return Answer(question.number, "ok", msgspec.msgpack.encode(len(directory)))
            else:
                return Answer(question.number, "unsupported", None, "no such question")
        except LookupError as exc:
            return Answer(question.number, "missing", None, str(exc))
        me = self._plane.node.me
        rows = [(*info.addr, info.name, info.group, info.node or me) for info in found]
        return Answer(question.number, "ok", msgspec.msgpack.encode(rows))
