"""Keeping a peer's frames in order while its async handlers run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from hisock._core import protocol
from hisock._core.account import DEFERRED
from hisock._core.events import EventTable
from hisock._core.inbox import Inbox
from hisock._core.jobs import Peer, RawFrame

#: Frames, and bytes, kept while async handlers are running, before reading pauses.
DEFERRED_FRAMES, DEFERRED_BYTES = DEFERRED


class OrderedPeer(Peer, Protocol):
    """A peer that has an inbox."""

    inbox: Inbox

    @property
    def ended(self) -> bool:
        """Whether nothing of it is handled any more."""


def defer(peer: OrderedPeer, events: EventTable, frames: Iterator[RawFrame]) -> None:
    """Keep frames until the handlers that run have ended, but for those that are urgent."""
    source = None if peer.info is None else peer.info.ip
    for frame in frames:
        if not is_urgent(events, source, frame, peer.inbox.changes):
            peer.inbox.put(frame)
        elif frame[0] is not None:
            events.handle(peer, *frame)
        else:
            peer.take_raw(frame[1] or b"")
            if peer.ended:
                return


def is_urgent(events: EventTable, source: str | None, frame: RawFrame, changes: int) -> bool:
    """Whether a frame overtakes those that wait, since the handlers that run may wait for it.

    No handler sees frames of the protocol's own, and the other side waits for what they bring. But
    who a client is can be told only after the changes of name and group that it has asked for.
    Commands that no handler takes may be what a handler waits for.

    :param source: the address that it came from, as text; ``None`` on a client.
    :param changes: how many of the frames that wait change the client's name or group.
    """
    command, message = frame
    if command is None:
        payload = message or b""
        if payload.startswith(protocol.GET_CLIENT):
            return not changes
        return payload.startswith(protocol.URGENT)
    return not events.handles(command) and (
        not events.has_wildcard or events.waiting.wants(command, source)
    )
