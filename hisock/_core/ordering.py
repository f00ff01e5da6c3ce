"""Keeping a peer's frames in order while its async handlers run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from hisock._core import protocol
from hisock._core.account import DEFERRED
from hisock._core.events import EventTable
from hisock._core.inbox import Inbox
from hisock._core.jobs import Peer
from hisock.framing import Frame

#: The high-water mark of deferred frames (frames, bytes), above which reading pauses.
DEFERRED_FRAMES, DEFERRED_BYTES = DEFERRED


class OrderedPeer(Peer, Protocol):
    """A peer that has an inbox."""

    @property
    def inbox(self) -> Inbox:
        """The frames that wait."""

    @property
    def ended(self) -> bool:
        """Whether its frames are no longer handled."""


def defer(peer: OrderedPeer, events: EventTable, frames: Iterator[Frame]) -> None:
    """Defer frames until the running handlers have ended; urgent ones are handled at once."""
    source = None if peer.info is None else peer.info.ip
    handlers = events.handlers.commands
    waits: list[Frame] = []
    for frame in frames:
        if frame[0] in handlers:  # the common case, of which there may be thousands
            waits.append(frame)
            continue
        if waits:
            peer.inbox.put_all(waits)
            waits = []
        if not is_urgent(events, source, frame, peer.inbox.changes):
            peer.inbox.put(frame)
        elif frame[0] is not None:
            events.handle(peer, *frame)
        else:
            peer.take_raw(frame[1] or b"")
            if peer.ended:
                return
    if waits:
        peer.inbox.put_all(waits)


def is_urgent(events: EventTable, source: str | None, frame: Frame, changes: int) -> bool:
    """Whether a frame overtakes deferred ones, because a running handler may wait for it.

    Control frames overtake, because no handler sees them and the peer waits for their answers;
    ``$GETCLT$`` does so only behind no pending change of name or group. So do commands without a
    handler, which a running handler may be waiting for.

    :param source: the address of the sender, as text; ``None`` on a client.
    :param changes: how many of the deferred frames change the client's name or group.
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
