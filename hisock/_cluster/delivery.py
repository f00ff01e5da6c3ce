"""Messages: from this server's program to clients of other nodes, and from those to ours."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from hisock._cluster.batch import message_entry
from hisock._cluster.peers import OtherNode
from hisock._cluster.records import Spread, entry_of
from hisock._cluster.roster import ClusterRoster, Reached, Remote, where
from hisock._cluster.streams import Streams
from hisock._core.codec import Falsy
from hisock._server.audience import Kind, Members
from hisock.framing import build_command, deliver, fan_out

if TYPE_CHECKING:
    from hisock._server.hub import Hub

LETTERS: Final[dict[Kind, str]] = {"group": "g", "room": "r", "everybody": "*"}
#: The targets of entries that are commands, for volatile messages.
_VOLATILE = {"*": "+", "g": "G", "r": "R", "c": "C"}
_NUMBER: Final = re.compile("[0-9]{1,19}").fullmatch
_KINDS = {**{volatile: kind for kind, volatile in _VOLATILE.items()}, "c": None}


class Outgoing:
    """A message as it goes to other nodes; its frame is built once.

    :ivar volatile: clients that are behind do not get it.
    :ivar latest: the key of a state, or ``None``.
    """

    __slots__ = ("frame", "latest", "old", "volatile")

    def __init__(
        self,
        command: str,
        content: bytes | None,
        header_len: int,
        volatile: bool,
        latest: str | None,
    ) -> None:
        self.old: bytes | None = None
        if type(content) is Falsy:
            self.old = build_command(command, content.suiting(False), header_len)
            content = content.suiting(True)
        self.frame = build_command(command, content, header_len)
        self.volatile = volatile
        self.latest = latest

    def entry(self, kind: str, name: str) -> bytes:
        """The entry for a group, a room, a client's number or everybody."""
        if self.old is None and self.latest is None:
            target = (_VOLATILE[kind] if self.volatile else kind) + name
            entry = message_entry(target, self.frame)
            if entry is not None:
                return entry
        numbers = [int(name)] if kind == "c" else []
        return self.spread(kind, "" if kind == "c" else name, numbers, [])

    def spread(self, kind: str, name: str, numbers: list[int], exclude: list[int]) -> bytes:
        """The entry for anything else."""
        return entry_of(
            Spread(kind, name, numbers, exclude, self.frame, self.old, self.volatile, self.latest)
        )


class Delivery:
    """Passes messages on, from any thread, and delivers those that come.

    :ivar reach: the nodes that have some of an audience of each kind, by its name.
    """

    def __init__(self, hub: Hub, roster: ClusterRoster, streams: Streams) -> None:
        self._hub = hub
        self._registry = hub.registry
        self._roster = roster
        self._streams = streams
        streams.put_apart = self._put_apart
        self.reach: dict[Kind, dict[str, Reached]] = {
            "group": roster.group_reach.all,
            "room": roster.room_reach.all,
            "everybody": roster.reach.all,
            "clients": roster.reach.all,  # neither of the two has a name
        }

    # -- out

    def _put_apart(self, nodes: Reached, kind: Kind, name: str, frame: bytes) -> None:
        """Send a ready frame that the streams do not gather."""
        entry = message_entry(nodes.target, frame)
        if entry is None:
            entry = entry_of(Spread(LETTERS[kind], name, [], [], frame))
        self._streams.put(nodes.names, entry)

    def to_many(
        self, kind: str, name: str, nodes: Reached, message: Outgoing, without: Remote | None
    ) -> int:
        """Send to a group, a room or everybody.

        :param nodes: the nodes that have some of them.
        :param without: a client that does not get it.
        :returns: how many clients that are.
        """
        put, volatile = self._streams.put, message.volatile
        counts = nodes.counts.copy()
        if not counts:
            return 0
        if without is not None and without.node in counts:
            entry = message.spread(kind, name, [], [without.number])
            put([without.node], entry, volatile)
            member = without in self._members(kind, name)
            total = sum(counts.values()) - member
            del counts[without.node]
            if not counts:
                return total
        else:
            total = sum(counts.values())
        every = len(counts) == len(self._streams.lanes)
        put(None if every else counts.keys(), message.entry(kind, name), volatile)
        return total

    def _members(self, kind: str, name: str) -> Collection[Remote]:
        roster = self._roster
        if kind == "g":
            return roster.groups.of(name)
        return roster.rooms.of(name) if kind == "r" else list(roster)

    def to_some(self, clients: Iterable[Remote], message: Outgoing) -> int:
        """Send to clients that were found one by one."""
        count = 0
        for node, numbers in where(clients).items():
            count += len(numbers)
            if len(numbers) == 1:
                entry = message.entry("c", str(numbers[0]))
            else:
                entry = message.spread("c", "", numbers, [])
            self._streams.put([node], entry, message.volatile)
        return count

    # -- in

    def take_all(self, messages: list[tuple[str, bytes | None]]) -> None:
        """Ready frames for many have come, each with its target."""
        registry = self._registry
        everyone, rooms = registry.everyone, registry.rooms.members
        deliver(messages, registry.groups, everyone, rooms, self._take)

    def _take(self, target: str, frame: bytes) -> None:
        """A frame for one client, or a volatile one."""
        letter, name = target[0], target[1:]
        if letter in _KINDS:
            kind = _KINDS[letter] or letter
            number = _NUMBER(name) if kind == "c" else None
            members = self._find(kind, name, [] if number is None else [int(name)])
            self._write(members, frame, letter != kind)

    def _find(self, kind: str, name: str, numbers: list[int]) -> Members:
        registry = self._registry
        if kind == "*":
            return registry.everyone
        if kind == "g":
            return registry.group(name)
        if kind == "r":
            return registry.rooms.members(name)
        found = (registry.numbered(number) for number in numbers)
        return {peer.outbox: peer for peer in found if peer is not None}

    def _write(self, members: Members, frame: bytes, volatile: bool) -> None:
        if volatile:
            ready = {box: peer for box, peer in members.items() if not peer.writer.paused}
            self._hub.broadcast.dropped += len(members) - len(ready)
            members = ready
        fan_out(members, frame)

    def take_spread(self, node: OtherNode | None, spread: Spread) -> None:
        """A message with more to it has come."""
        members = self._find(spread.kind, spread.name, spread.numbers)
        if spread.exclude:
            members = {b: p for b, p in members.items() if p.joined not in spread.exclude}
        self.write(members, spread.frame, spread.old, spread.volatile, spread.latest)

    def write(
        self,
        members: Members,
        frame: bytes,
        old: bytes | None,
        volatile: bool,
        latest: str | None,
    ) -> None:
        """Write a frame to clients of this node.

        :param old: the frame for clients of 2.0.2, if it is another one.
        """
        if old is not None:
            modern = {b: p for b, p in members.items() if p.features is not None}
            others = {b: p for b, p in members.items() if p.features is None}
            self.write(others, old, None, volatile, latest)
            members = modern
        if latest is not None:
            for peer in list(members.values()):
                peer.writer.write_latest(latest, frame)
        else:
            self._write(members, frame, volatile)
