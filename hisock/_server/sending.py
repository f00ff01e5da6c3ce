"""What a server sends: to one client, to some, to all. Everything here is for any thread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hisock._core.client_info import ClientInfo, ClientRef, title_of
from hisock._core.codec import Codec, Falsy
from hisock._server.connection import Connection
from hisock._server.hub import Hub
from hisock._server.registry import Registry
from hisock.exceptions import ClientNotFound
from hisock.framing import Outbox, build_command, fan_out, send_client


class Sending:
    """The sending half of a server.

    Every method takes the message as ``content``; see :mod:`hisock._core.codec` for what can be
    sent. Each raises :class:`TypeError` for content that cannot be encoded and
    :class:`ValueError` for a command that is empty or holds a ``$...$`` pair; nothing is sent
    then. Two options are for state that a newer message makes worthless:

    - ``volatile=True``: a client that is behind does not get it.
    - ``latest="key"``: it takes the place of an older one with that key which has not been written
      yet. Such messages go out after the others of the same iteration of the loop.
    """

    header_len: int
    _hub: Hub
    _registry: Registry[Connection]
    _codec: Codec

    send_client = send_client  # to one of its own clients without a look-up, else:

    def _send_otherwise(
        self,
        client: ClientRef,
        command: str,
        content: bytes | None,
        volatile: bool,
        latest: str | None,
    ) -> None:
        peer = self._registry.find(client)
        outbox = peer.outbox
        if type(content) is Falsy:
            content = content.suiting(peer.features is not None)
        if volatile or latest is not None:
            sent = self._fan_out({outbox: peer}, command, content, volatile, latest) > 0
        else:
            sent = outbox.send(command, content)
        if not sent and outbox.closed:
            raise ClientNotFound(f"{title_of(peer.info)} is no longer connected")

    def send_all_clients(
        self,
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        """Send a command to all clients; it is encoded once.

        :returns: how many clients it was sent to.
        """
        everyone = self._registry.everyone
        return self._fan_out(everyone, command, self._codec.encode(content), volatile, latest)

    def send_group(
        self,
        group: str | ClientInfo,
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        """Send a command to all clients in a group; it is encoded once.

        :param group: the group's name, or a client for the group it is in.
        :returns: how many clients it was sent to; 0 when nobody is in the group.
        :raises TypeError: the client is in no group.
        """
        name = group.group if isinstance(group, ClientInfo) else group
        if name is None:
            who = title_of(group) if isinstance(group, ClientInfo) else repr(group)
            raise TypeError(f"{who} is in no group")
        members = self._registry.group(name)
        return self._fan_out(members, command, self._codec.encode(content), volatile, latest)

    def send_room(
        self,
        room: str,
        command: str,
        content: Any = None,
        *,
        exclude: ClientRef | None = None,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        """Send a command to all clients in a room; it is encoded once.

        :param exclude: a client that does not get it, such as the one it is about.
        :returns: how many clients it was sent to; 0 when nobody is in the room.
        """
        members = self._registry.room(room)
        if exclude is not None and members:
            left_out = self._find_or_none(exclude)
            members = {box: peer for box, peer in list(members.items()) if peer is not left_out}
        return self._fan_out(members, command, self._codec.encode(content), volatile, latest)

    def send_many(
        self,
        clients: Iterable[ClientRef],
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        """Send a command to some clients, such as those near a player; it is encoded once.

        :returns: how many clients it was sent to; those no longer connected are passed over.
        """
        peers = (self._find_or_none(client) for client in clients)
        members = {peer.outbox: peer for peer in peers if peer is not None}
        return self._fan_out(members, command, self._codec.encode(content), volatile, latest)

    def _find_or_none(self, client: ClientRef) -> Connection | None:
        try:
            return self._registry.find(client)
        except ClientNotFound:
            return None

    def _fan_out(
        self,
        members: dict[Outbox, Connection],
        command: str,
        message: bytes | None,
        volatile: bool,
        latest: str | None,
    ) -> int:
        if type(message) is Falsy:
            return self._fan_out_by_kind(members, command, message, volatile, latest)
        frame = build_command(command, message, self.header_len)
        if latest is not None:
            peers = list(members.values())
            return sum(peer.writer.write_latest(latest, frame) for peer in peers)
        if volatile:
            ready = {box: peer for box, peer in list(members.items()) if not peer.writer.paused}
            self._hub.dropped += len(members) - len(ready)
            members = ready
        return fan_out(members, frame)

    def _fan_out_by_kind(
        self,
        members: dict[Outbox, Connection],
        command: str,
        message: Falsy,
        volatile: bool,
        latest: str | None,
    ) -> int:
        """Send one frame to peers of this version, and another to those of 2.0.2."""
        kinds: dict[bool, dict[Outbox, Connection]] = {True: {}, False: {}}
        for box, peer in list(members.items()):
            kinds[peer.features is not None][box] = peer
        return sum(
            self._fan_out(some, command, message.suiting(modern), volatile, latest)
            for modern, some in kinds.items()
        )
