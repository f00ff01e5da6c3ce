"""Keeping a peer's frames in order while its async handlers run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from hisock._core import protocol
from hisock._core.events import EventTable
from hisock._core.jobs import RawFrame

#: Frames kept for a peer whose async handlers are running, before reading from it pauses.
DEFERRED_FRAMES = 1024
#: And bytes of their messages.
DEFERRED_BYTES = 4 * 1024 * 1024


class Ordering:
    """The part of a connection that waits for handlers.

    :ivar busy: how many handlers must end before the next frame may be handled.
    :ivar deferred: the frames that came meanwhile.
    :ivar deferred_changes: how many of them change the client's name or group.
    """

    __slots__ = ("_held_up", "busy", "deferred", "deferred_bytes", "deferred_changes")

    busy: int
    deferred: deque[RawFrame] | None
    deferred_bytes: int
    deferred_changes: int
    _held_up: bool
    #: The client, where the peer is one.
    info: Any

    def event_table(self) -> EventTable:
        raise NotImplementedError

    def take_raw(self, payload: bytes) -> None:
        raise NotImplementedError

    def set_reading(self, reading: bool) -> None:
        """Read on, or stop reading."""
        raise NotImplementedError

    def defer(self, frames: Iterator[RawFrame]) -> None:
        """Keep frames until the handlers that run have ended.

        Except what those handlers may be waiting for, or are about to: replies, and frames that no
        handler takes.
        """
        events = self.event_table()
        client = self.info
        source = None if client is None else client.ip
        if self.deferred is None:
            self.deferred = deque()
        kept = self.deferred
        for command, message in frames:
            if command is None:
                urgent = self._is_urgent(message or b"")
            else:
                urgent = not events.handles(command) and (
                    not events.has_wildcard or events.waiting.wants(command, source)
                )
            if not urgent:
                self._keep(kept, command, message)
            elif command is None:
                self.take_raw(message or b"")
            else:
                events.handle(self, command, message)
            if self.deferred is not kept:
                return  # that frame has ended the connection; what follows is nobody's
        self.pause_if_much()

    def _keep(self, kept: deque[RawFrame], command: str | None, message: bytes | None) -> None:
        kept.append((command, message))
        self.deferred_bytes += len(message or b"")
        self.deferred_changes += _is_change(command, message)

    def _is_urgent(self, payload: bytes) -> bool:
        """Whether a frame without a command overtakes those that wait.

        No handler sees these, and the other side waits for what they bring. But who a client is
        can be told only after the changes of name and group that it has asked for before.
        """
        if payload.startswith(protocol.GET_CLIENT):
            return not self.deferred_changes
        return payload.startswith(protocol.URGENT)

    def pause_if_much(self) -> None:
        """Read no more while many frames are kept."""
        frames = len(self.deferred or ())
        much = frames > DEFERRED_FRAMES or self.deferred_bytes > DEFERRED_BYTES
        if much and not self._held_up:
            self._held_up = True
            self.set_reading(False)

    def pop_deferred(self) -> RawFrame | None:
        """The oldest frame that was kept, if there is one; it is not kept any longer."""
        if not self.deferred:
            self.deferred = None
            return None
        frame = self.deferred.popleft()
        self.deferred_bytes -= len(frame[1] or b"")
        self.deferred_changes -= _is_change(*frame)
        few = len(self.deferred) <= DEFERRED_FRAMES // 2
        if self._held_up and few and self.deferred_bytes <= DEFERRED_BYTES // 2:
            self._held_up = False
            self.set_reading(True)
        return frame


def _is_change(command: str | None, message: bytes | None) -> bool:
    return command is None and message is not None and message.startswith(protocol.CHANGES)
