"""Keeping the roster equal to what each node says of its own clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from hisock._cluster.link import NodeHello
from hisock._cluster.peers import OtherNode
from hisock._cluster.records import (
    Beat,
    Changed,
    Delta,
    Left,
    Moved,
    Portion,
    Resync,
    Row,
    entry_of,
)
from hisock._cluster.roster import ClusterRoster, Remote
from hisock._cluster.streams import Streams

#: Seconds after which a snapshot that has not ended is asked for again.
_PATIENCE: Final = 3.0


class Watcher(Protocol):
    """Is told of clients of nodes that have joined."""

    def client_joined(self, client: Remote) -> None: ...

    def client_left(self, client: Remote) -> None: ...

    def node_is_here(self, node: OtherNode) -> None:
        """The first snapshot of a node is complete."""


class Replica:
    """Applies the changes and snapshots of other nodes. Runs on the loop's thread.

    A change that is not the next one means that something was lost: then a snapshot is asked for,
    and what differs from it is changed, so that nobody leaves and joins who did not.

    :ivar resyncs: how many snapshots were asked for because something was lost.
    """

    def __init__(
        self, roster: ClusterRoster, streams: Streams, watcher: Watcher, now: Callable[[], float]
    ) -> None:
        self.roster = roster
        self.resyncs = 0
        #: Rooms that clients were ordered into or out of, until their nodes confirm that.
        self.guesses: set[tuple[str, int, str]] = set()
        self._streams = streams
        self._watcher = watcher
        self._now = now
        self._questions = 0

    def ask(self, node: OtherNode) -> None:
        """Ask a node for a snapshot."""
        self._questions += 1
        node.question, node.asked, node.fresh = self._questions, self._now(), None
        self._streams.put([node.hello.node], entry_of(Resync(self._questions)), push=True)

    def greeted(self, node: OtherNode, hello: NodeHello) -> None:
        """A node that was known says hello: after an outage, its link is up only now.

        What it was asked before, it may not have heard.
        """
        if node.question and node.fresh is None and hello is not node.hello:
            self.ask(node)

    def _missed(self, node: OtherNode) -> None:
        self.resyncs += 1
        self.ask(node)

    def beat(self, node: OtherNode, beat: Beat) -> None:
        """A sign of life: the numbers show whether anything was lost."""
        if node.question:
            if self._now() - node.asked > _PATIENCE:
                self._missed(node)
        elif beat.number != node.number:
            self._missed(node)

    def portion(self, node: OtherNode, portion: Portion) -> None:
        """A portion of a snapshot."""
        if portion.question != node.question:
            return  # an answer to an older question
        if portion.first:
            node.fresh, node.number = set(), portion.number
        if node.fresh is None or portion.number != node.number:
            self._missed(node)
            return
        node.asked = self._now()
        for row in portion.rows:
            self._apply(node, row)
        if portion.last:
            self._complete(node, node.fresh)

    def _complete(self, node: OtherNode, fresh: set[int]) -> None:
        node.question, node.fresh = 0, None
        clients = self.roster.nodes.setdefault(node.hello.node, {})
        for client in [client for number, client in clients.items() if number not in fresh]:
            self._leave(node, client)
        if not node.here:
            node.here = True
            self._watcher.node_is_here(node)

    def delta(self, node: OtherNode, delta: Delta) -> None:
        """Changes of a node's roster."""
        if node.question and node.fresh is None:
            return  # the snapshot that was asked for will have them
        if delta.number != node.number + 1:
            self._missed(node)
            return
        node.number += len(delta.changes)
        for change in delta.changes:
            if isinstance(change, Row):
                self._apply(node, change)
                continue
            client = self.roster.get(node.hello.node, change.number)
            if client is None:
                continue  # its row comes with a later portion
            if isinstance(change, Left):
                self._leave(node, client)
            elif isinstance(change, Changed):
                self.roster.change(client, change)
            elif isinstance(change, Moved):
                self.guesses.discard((node.hello.node, change.number, change.room))
                self.roster.move(client, change)

    def _apply(self, node: OtherNode, row: Row) -> None:
        if node.fresh is not None:
            node.fresh.add(row.number)
        client = self.roster.get(node.hello.node, row.number)
        if client is None:
            client = self.roster.add(node.hello.node, row)
            if node.here:
                self._watcher.client_joined(client)
        elif client.row() != row:
            self.roster.add(node.hello.node, row)

    def _leave(self, node: OtherNode, client: Remote) -> None:
        if node.fresh is not None:
            node.fresh.discard(client.number)
        self.roster.remove(client)
        if node.here:
            self._watcher.client_left(client)
