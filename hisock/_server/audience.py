"""The audience of a message as data, and the one place that turns it into outboxes.

An audience can be passed on to other processes, which know the same names of groups and rooms but
not the outboxes of this one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from hisock._core.client_info import ClientRef
from hisock._core.codec import Falsy
from hisock._server.registry import Registry
from hisock.exceptions import ClientNotFound
from hisock.framing import Broadcaster, Outbox, build_command, fan_out

if TYPE_CHECKING:
    from hisock._server.backplane import Backplane
    from hisock._server.connection import Connection

Members = dict[Outbox, "Connection"]


#: Some of the clients of a server, or of all servers of a cluster: the kind, the name of a group or
#: room, clients named one by one, and one that is left out. The functions below make it. It is a
#: plain tuple because one is made for every message.
Kind = Literal["everybody", "group", "room", "clients"]
Audience = tuple[Kind, str, tuple[ClientRef, ...], "ClientRef | None"]


def everybody(exclude: ClientRef | None = None) -> Audience:
    """All clients."""
    return ("everybody", "", (), exclude)


def group(name: str, exclude: ClientRef | None = None) -> Audience:
    """The clients in a group."""
    return ("group", name, (), exclude)


def room(name: str, exclude: ClientRef | None = None) -> Audience:
    """The clients in a room."""
    return ("room", name, (), exclude)


def clients(refs: Iterable[ClientRef], exclude: ClientRef | None = None) -> Audience:
    """Clients that are named one by one; those that are not connected are passed over."""
    return ("clients", "", tuple(refs), exclude)


class Broadcast(Broadcaster):
    """Writes messages to audiences. Everything here may be called from any thread.

    What is usual is done by the class that this inherits from, which is compiled.

    :ivar dropped: how many messages were not written because clients were behind.
    """

    def __init__(self, registry: Registry[Connection], header_len: int) -> None:
        super().__init__(registry.everyone, registry.groups, registry.rooms.by_name, header_len)
        self.dropped = 0
        self._registry = registry
        self._header_len = header_len

    backplane: Backplane | None

    def publish_otherwise(
        self,
        audience: Audience,
        command: str,
        message: bytes | None,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        """Write a message that is more than a frame for many clients."""
        backplane = self.backplane
        passed = 0
        if backplane is not None and audience[1] in backplane.reach[audience[0]]:
            passed = backplane.publish(audience, command, message, volatile, latest)
        return passed + self.deliver(audience, command, message, volatile, latest)

    def deliver(
        self,
        audience: Audience,
        command: str,
        message: bytes | None,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        """Write a message to the clients of an audience that are on this server.

        :returns: how many these are.
        """
        return self.write(self.members(audience), command, message, volatile, latest)

    def members(self, audience: Audience) -> Members:
        """The clients of an audience that are on this server, by outbox; not to be changed."""
        kind, name, refs, exclude = audience
        if kind == "group":
            members = self._registry.group(name)
        elif kind == "everybody":
            members = self._registry.everyone
        elif kind == "room":
            members = self._registry.rooms.members(name)
        else:
            members = self._named(refs)
        if exclude is not None and members:
            left_out = self._named((exclude,))
            members = {box: peer for box, peer in list(members.items()) if box not in left_out}
        return members

    def _named(self, refs: Iterable[ClientRef]) -> Members:
        members: Members = {}
        for ref in refs:
            with contextlib.suppress(ClientNotFound):
                peer = self._registry.find(ref)
                members[peer.outbox] = peer
        return members

    def write(
        self,
        members: Members,
        command: str,
        message: bytes | None,
        volatile: bool,
        latest: str | None,
    ) -> int:
        """Write a message to some clients; it is built once.

        :returns: how many took it.
        """
        if type(message) is Falsy:
            return self._write_by_kind(members, command, message, volatile, latest)
        frame = build_command(command, message, self._header_len)
        if latest is not None:
            peers = list(members.values())
            return sum(peer.writer.write_latest(latest, frame) for peer in peers)
        if volatile:
            ready = {box: peer for box, peer in list(members.items()) if not peer.writer.paused}
            self.dropped += len(members) - len(ready)
            members = ready
        return fan_out(members, frame)

    def _write_by_kind(
        self, members: Members, command: str, message: Falsy, volatile: bool, latest: str | None
    ) -> int:
        """Write one frame to peers of this version, and another to those of 2.0.2."""
        kinds: dict[bool, Members] = {True: {}, False: {}}
        for box, peer in list(members.items()):
            kinds[peer.features is not None][box] = peer
        return sum(
            self.write(some, command, message.suiting(modern), volatile, latest)
            for modern, some in kinds.items()
        )
