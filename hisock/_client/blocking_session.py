"""A blocking client's connection: what belongs to it, and the frames that it has brought."""

from __future__ import annotations

import operator
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from hisock._client.blocking_link import Link
from hisock._client.session import Owner, Session, State
from hisock._client.vigil import Verdict, Vigil
from hisock._core.raising import fresh
from hisock.exceptions import ConnectionLost
from hisock.framing import Frame

#: Bounds for frames and bytes that are read ahead of their handlers.
AHEAD_FRAMES = 1024
AHEAD_BYTES = 4 * 1024 * 1024


class BlockingOwner(Owner, Protocol):
    """The client that a blocking session belongs to."""

    def write_failed(self, session: Any) -> None:
        """A thread could not send: the connection has ended, perhaps without a reader."""


class BlockingSession(Session):
    """One connection over a blocking socket.

    :ivar pending: the frames that have come and are not handled yet.
    :ivar earlier: how many of those had come before something was sent, with the number that they
        have for waiters; several times that, oldest first.
    :ivar loss_ahead: the end of the connection, found by reading ahead.
    """

    owner: BlockingOwner

    def __init__(
        self, owner: BlockingOwner, link: Link, identity: tuple[str | None, str | None]
    ) -> None:
        super().__init__(owner, identity)
        self.link = link
        self.pending: Iterator[Frame] = iter(())
        self.earlier: deque[tuple[int, int]] = deque()
        self.loss_ahead: ConnectionLost | None = None
        self._ahead = 0
        #: Set when the handler of ``reconnect`` or the session has ended.
        self.handled = threading.Event()
        #: Set when the offline buffer has been sent, or sending it has failed.
        self.settled = threading.Event()
        self._vigil: Vigil | None = None

    def write(self, frame: bytes) -> None:
        """Send a whole frame; blocks while the server takes nothing.

        :raises ConnectionLost: the connection has ended.
        :raises ClientDisconnected: the client is closed.
        """
        try:
            self.link.send(frame)
        except ConnectionLost:
            if self.ended:
                raise self.error() from None
            # Wake the reading thread: a goodbye may be among the unread bytes.
            self.link.abort()
            self.owner.write_failed(self)
            raise

    def write_many(self, frames: list[bytes]) -> int:
        """Send frames together; returns how many were sent whole, before the connection ended."""
        sent = self.link.send_many(frames)
        if sent < len(frames) and not self.ended:
            self.link.abort()
            self.owner.write_failed(self)
        return sent

    def forget(self, reason: Exception) -> None:
        super().forget(reason)
        self.pending = iter(())
        self.link.forget()

    @property
    def broken(self) -> bool:
        """Whether nothing can be sent on it."""
        return self.ended or self.link.loss is not None

    def defer(self, frames: Iterator[Frame]) -> None:
        """Never needed: no handler of a blocking client is still running when it returns."""

    def hold(self, frames: list[Frame]) -> None:
        """Frames have come; the first ones say what the server knows."""
        if frames and self.state is State.GREETING:
            frames = self.take_greeting(frames)
            if self.silence is not None:
                self._vigil = Vigil(self.silence, time.monotonic())
        self.batch = frames
        self.pending = iter(frames)
        self.link.taken_over()

    def receive(self, timeout: float | None) -> list[Frame]:
        """Receive once; see :meth:`Link.receive`.

        :raises ConnectionLost: the connection has ended, or the server is silent for too long.
        """
        vigil = self._vigil
        if vigil is None:
            return self.link.receive(timeout)
        before = self.link.received
        left = max(0.0, vigil.due - time.monotonic())
        frames = self.link.receive(left if timeout is None else min(left, timeout))
        now = time.monotonic()
        if self.link.received != before:
            vigil.heard(now)
            return frames
        verdict = vigil.look(now)
        if verdict is Verdict.ASK:
            self.probe(self.link.send_now)
        elif verdict is Verdict.LOST:
            raise vigil.lost()
        return frames

    def read_ahead(self) -> int:
        """Take what has come off the system, to be handled later, and within a bound.

        :returns: how many frames wait to be handled, beside those in ``earlier``.
        """
        waiting = operator.length_hint(self.pending)
        if not waiting:
            self.earlier.clear()
            self._ahead = 0
        frames: list[Frame] = []
        try:
            self.link.require_whole()
            while waiting + len(frames) < AHEAD_FRAMES and self._ahead < AHEAD_BYTES:
                before = self.link.received
                frames += self.receive(0)
                self._ahead += self.link.received - before
                if self.link.received == before:
                    break
        except ConnectionLost as exc:  # found again after these frames, where a thread reads
            self.loss_ahead = fresh(self.link.given_up or exc)
        if frames:
            self.hold([*self.pending, *frames])
        else:
            self.link.taken_over()
        return operator.length_hint(self.pending) - sum(count for count, _ in self.earlier)

    def receive_rest(self) -> list[Frame]:
        """What has come on a connection that is broken; nothing follows."""
        frames: list[Frame] = []
        try:
            self.link.require_whole()
            while True:
                frames += self.link.receive(0)
        except ConnectionLost:
            return frames
