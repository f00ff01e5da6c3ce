"""Frames for audiences, which a server finds by name: in Python, as ``_publishing.pxi``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hisock._building_py import build_command
from hisock._outbox_py import Outbox, Recipient, fan_out


class Broadcaster:
    """Writes messages to audiences, where nothing else has to be done.

    :param everyone: has the outboxes of all clients as its keys.
    :param groups: such a dict for each group, by name.
    :param rooms: the rooms by name; ``members`` of each is such a dict.
    :ivar backplane: passes messages on to other servers; ``None`` where there are none.
    """

    __slots__ = ("_everyone", "_groups", "_header_len", "_rooms", "backplane")

    def __init__(
        self,
        everyone: dict[Outbox, Any],
        groups: dict[str, Any],
        rooms: dict[str, Any],
        header_len: int,
    ) -> None:
        self.backplane: Any = None
        self._everyone = everyone
        self._groups = groups
        self._rooms = rooms
        self._header_len = header_len

    def publish_otherwise(
        self, audience: Any, command: str, message: bytes | None, volatile: bool, latest: str | None
    ) -> int:
        """Write a message to an audience where there is more to it."""
        raise NotImplementedError

    def publish(
        self,
        audience: Any,
        command: str,
        message: bytes | None,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        """Write a message to an audience, wherever its clients are.

        :returns: how many clients it was written to, or passed on for to other servers.
        """
        written = self._plainly(audience, command, message, volatile, latest)
        if written < 0:
            return self.publish_otherwise(audience, command, message, volatile, latest)
        return written

    def _plainly(
        self, audience: Any, command: str, message: bytes | None, volatile: Any, latest: str | None
    ) -> int:
        """Write a message to an audience; -1, and nothing is done, if there is more to it."""
        if volatile is not False or latest is not None:
            return -1
        if message is not None and type(message) is not bytes:
            return -1
        kind, name, refs, exclude = audience
        elsewhere = None
        if self.backplane is not None:
            elsewhere = self.backplane.reach[kind].get(name)
            if elsewhere is not None and (exclude is not None or kind == "clients"):
                return -1
        left_out = None
        if exclude is not None and (left_out := self._outbox_of(exclude)) is None:
            return -1
        members = self._members(kind, name, refs)
        if members is None:
            return -1
        frame = build_command(command, message, self._header_len)
        passed: int = 0
        if elsewhere is not None:
            passed = self.backplane.pass_on(elsewhere, kind, name, frame)
        if left_out is not None:
            members = [box for box in list(members) if box is not left_out]
        return passed + fan_out(members, frame)

    def _members(self, kind: str, name: str, refs: Iterable[Any]) -> Iterable[Outbox] | None:
        """Return the outboxes of an audience, or ``None`` if a client has to be looked up."""
        if kind == "group":
            members: Iterable[Outbox] = self._groups.get(name, ())
        elif kind == "room":
            room = self._rooms.get(name)
            members = () if room is None else room.members
        elif kind == "everybody":
            members = self._everyone
        else:
            return self._outboxes_of(refs)
        return members

    def _outbox_of(self, client: Any) -> Outbox | None:
        """Return the outbox of a client that has to be looked up nowhere; else ``None``."""
        outbox = client._outbox if isinstance(client, Recipient) else None
        return outbox if outbox in self._everyone else None

    def _outboxes_of(self, refs: Iterable[Any]) -> dict[Outbox, None] | None:
        """Return the outboxes of clients in a dict, or ``None`` if one has to be looked up."""
        members: dict[Outbox, None] = {}
        for client in refs:
            outbox = self._outbox_of(client)
            if outbox is None:
                return None
            members[outbox] = None
        return members


def send_group(
    self: Any,
    group: str | Recipient,
    command: str,
    content: Any = None,
    *,
    volatile: bool = False,
    latest: str | None = None,
) -> int:
    """Send a command to all clients in a group; it is encoded once.

    :param group: the group's name, or a client to send to the group that it is in.
    :returns: how many clients it was sent to; 0 if no client is in the group.
    :raises TypeError: the client is in no group.
    """
    name: Any = group
    if isinstance(name, Recipient):
        name = name.group  # type: ignore[attr-defined]  # it is a ClientInfo
    if name is None:
        self._in_no_group(group)
    message = content if type(content) is bytes else self._codec.encode(content)
    audience = ("group", name, (), None)
    written: int = self._broadcast.publish(audience, command, message, volatile, latest)
    return written


def send_room(
    self: Any,
    room: str,
    command: str,
    content: Any = None,
    *,
    exclude: Recipient | tuple[str, int] | str | None = None,
    volatile: bool = False,
    latest: str | None = None,
) -> int:
    """Send a command to all clients in a room; it is encoded once.

    :param exclude: a client that does not get it, such as the one that it is about. Default
        ``None``.
    :returns: how many clients it was sent to; 0 if no client is in the room.
    """
    message = content if type(content) is bytes else self._codec.encode(content)
    audience = ("room", room, (), exclude)
    written: int = self._broadcast.publish(audience, command, message, volatile, latest)
    return written
