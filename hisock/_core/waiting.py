"""Matching of frames to waiters: the core of ``recv`` and ``wait_for``.

This module has no threads and no loops: the driver provides a lock and waiters (around a
``concurrent.futures.Future`` or an ``asyncio.Future``), so that all drivers share the same rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary, ref

from hisock._core.account import frame_size
from hisock._core.raising import fresh

#: Unclaimed frames are kept for a ``recv`` that is about to be called: an answer may arrive before
#: the thread that sent the question gets from ``send`` to ``recv``.
UNCLAIMED_FRAMES = 32
UNCLAIMED_BYTES = 1024 * 1024
UNCLAIMED_SECONDS = 1.0


class ReceivedFrame(NamedTuple):
    """A frame without a handler, as waiters get it.

    :ivar source: the address of the client that sent it, as text; ``None`` on a client.
    :ivar number: its place in the order of arrival; 0 until it is offered to a waiter.
    :ivar origin: the connection on which it arrived, until it is kept as unclaimed.
    """

    command: str | None
    message: bytes | None
    source: str | None = None
    number: int = 0
    origin: Any = None


#: The frame that a waiter waits for: its command (``None`` for any) and its source (``None`` for
#: any client).
Wanted = tuple["str | None", "str | None"]


class Waiter(Protocol):
    """Waits for one frame."""

    def deliver(self, frame: ReceivedFrame) -> bool:
        """Deliver the frame; ``False`` if the waiter has stopped waiting."""

    def fail(self, exc: BaseException) -> None:
        """Deliver an error: no frame will come."""


def _nothing() -> None:
    """No sender: what a weak reference to one that has gone returns."""


class _Unclaimed(NamedTuple):
    arrived: float
    observed: bool
    frame: ReceivedFrame


class Waiting:
    """The waiters of one server or client, and its unclaimed frames.

    :param lock: guards everything in here; held for a few instructions at a time.
    :param clock: a monotonic clock, in seconds.
    :param frames: how many unclaimed frames are kept; ``most_bytes`` and ``seconds`` bound them
        too.
    """

    def __init__(
        self,
        lock: AbstractContextManager[Any],
        clock: Callable[[], float],
        frames: int = UNCLAIMED_FRAMES,
        most_bytes: int = UNCLAIMED_BYTES,
        seconds: float = UNCLAIMED_SECONDS,
    ) -> None:
        self._lock = lock
        self._clock = clock
        self._most_frames = frames
        self._most_bytes = most_bytes
        self._seconds = seconds
        # Each with what had been sent when it began to wait; see `sent`.
        self._waiters: dict[Wanted, deque[tuple[Waiter, int]]] = {}
        self._unclaimed: list[_Unclaimed] = []  # a deque takes 760 bytes when empty
        self._unclaimed_bytes = 0
        self._forgotten: list[str] = []
        self._arrived = 0
        self._sent_at = 0
        # Kept for each thread or task, so that it is not affected by what another one sends: for
        # the last one in `_sent_at`, for those before it here.
        self._sent_by: WeakKeyDictionary[object, int] = WeakKeyDictionary()
        self._last_sender: Callable[[], object] = _nothing
        self._closed: BaseException | None = None
        #: The number of the frames that are offered or kept now; 0 for a new one each.
        self.number = 0

    def sent(self, sender: object, before: bool = False) -> int:
        """Note that a frame was sent: unclaimed frames that arrived earlier cannot answer it.

        :param sender: the thread or task that sent it.
        :param before: whether frames have arrived that were not offered yet.
        :returns: the number of those, for when they are; see ``number``.
        """
        last = self._last_sender()
        if last is sender and self._sent_at == self._arrived and not before:
            return self._sent_at  # nothing has arrived since its last send
        with self._lock:
            last = self._last_sender()
            if last is not sender:
                if last is not None:
                    self._sent_by[last] = self._sent_at
                self._last_sender = ref(sender)
            self._arrived += before
            self._sent_at = self._arrived
            return self._arrived

    def add(self, wanted: Wanted, waiter: Waiter, sender: object = None) -> None:
        """Wait for a frame.

        An unclaimed frame that arrived after the latest send of this client is delivered at once.

        :param sender: the thread or task that waits; if it has sent something itself, its own
            latest send counts instead.
        """
        with self._lock:
            sent_at = self._sent_at
            if sender is not None and self._sent_by and self._last_sender() is not sender:
                sent_at = self._sent_by.get(sender, sent_at)
            kept = self._take_unclaimed(wanted, sent_at)
            if kept is not None and waiter.deliver(kept):
                return
            if self._closed is not None:
                waiter.fail(fresh(self._closed))
            else:
                self._waiters.setdefault(wanted, deque()).append((waiter, sent_at))

    def remove(self, wanted: Wanted, waiter: Waiter) -> None:
        """Stop waiting; does nothing for a waiter that has got its frame."""
        with self._lock:
            waiters = self._waiters.get(wanted)
            if waiters is None:
                return
            entry = next((each for each in waiters if each[0] is waiter), None)
            if entry is not None:
                waiters.remove(entry)
                if not waiters:
                    del self._waiters[wanted]

    @property
    def idle(self) -> bool:
        """Whether there is no waiter."""
        return not self._waiters

    @property
    def count(self) -> int:
        """How many waiters there are."""
        with self._lock:
            return sum(map(len, self._waiters.values()))

    def wants(self, command: str | None, source: str | None) -> bool:
        """Whether any waiter waits for such a frame."""
        waiters = self._waiters
        return bool(waiters) and any(
            wanted in waiters
            for wanted in ((command, source), (command, None), (None, source), (None, None))
        )

    def offer(self, frame: ReceivedFrame) -> bool:
        """Deliver a frame to the oldest waiter for its command, else to the oldest for any.

        Waiters for its client come before waiters for any client.
        """
        if not self._waiters:
            return False
        with self._lock:
            return self._offer(frame)

    def _offer(self, frame: ReceivedFrame) -> bool:
        command, source = frame.command, frame.source
        if not frame.number:
            number = self.number or self._next_number()
            frame = ReceivedFrame(command, frame.message, source, number, frame.origin)
        if source is not None and self._offer_to((command, source), frame):
            return True
        if self._offer_to((command, None), frame):
            return True
        if command is None:
            return False
        return (source is not None and self._offer_to((None, source), frame)) or self._offer_to(
            (None, None), frame
        )

    def _next_number(self) -> int:
        self._arrived += 1
        return self._arrived

    def _offer_to(self, wanted: Wanted, frame: ReceivedFrame) -> bool:
        waiters = self._waiters.get(wanted)
        if waiters is None:
            return False
        for entry in list(waiters):
            waiter, sent_at = entry
            if frame.number <= sent_at:
                continue  # it had arrived before what this one waits for an answer to
            waiters.remove(entry)
            if not waiters:
                del self._waiters[wanted]
            if waiter.deliver(frame):
                return True
        return False

    def keep(self, frame: ReceivedFrame, observed: bool = False) -> None:
        """Keep an unclaimed frame, for a short while and within a bound.

        A frame that a waiter puts back returns to its place in the order of arrival.

        :param observed: whether an observer has seen it, so that it does not count as unhandled.
        """
        with self._lock:
            # A waiter may have been added since the frame was offered.
            if self._waiters and self._offer(frame):
                return
            number = frame.number or self.number or self._next_number()
            # Without the origin, so that it does not keep an ended connection alive.
            kept = ReceivedFrame(frame.command, frame.message, frame.source, number)
            place = len(self._unclaimed)
            while place and self._unclaimed[place - 1].frame.number > kept.number:
                place -= 1  # a waiter put it back, and others have arrived after it
            self._unclaimed.insert(place, _Unclaimed(self._clock(), observed, kept))
            self._unclaimed_bytes += frame_size(frame.command, frame.message)
            self._forget_old()
            self._forget_too_many()

    def unhandled(self) -> list[str]:
        """The commands of frames that were not claimed in time, since the last call."""
        with self._lock:
            self._forget_old()
            forgotten, self._forgotten = self._forgotten, []
        return forgotten

    def _forget_old(self) -> None:
        if self._closed is None:
            oldest = self._clock() - self._seconds
            while self._unclaimed and self._unclaimed[0].arrived < oldest:
                self._forget_oldest()

    def _forget_too_many(self) -> None:
        while len(self._unclaimed) > self._most_frames or (
            self._unclaimed_bytes > self._most_bytes and len(self._unclaimed) > 1
        ):
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        gone = self._unclaimed.pop(0)
        self._unclaimed_bytes -= frame_size(gone.frame.command, gone.frame.message)
        if not gone.observed and gone.frame.command is not None:
            self._forgotten.append(gone.frame.command)

    def _take_unclaimed(self, wanted: Wanted, sent_at: int) -> ReceivedFrame | None:
        self._forget_old()
        command, source = wanted
        for kept in self._unclaimed:
            frame = kept.frame
            if frame.number <= sent_at or (source is not None and frame.source != source):
                continue
            if command is None or frame.command == command:
                self._unclaimed.remove(kept)
                self._unclaimed_bytes -= frame_size(frame.command, frame.message)
                return frame
        return None

    def take_all(self) -> list[ReceivedFrame]:
        """Remove and return the unclaimed frames, oldest first."""
        with self._lock:
            frames = [kept.frame for kept in self._unclaimed]
            self._unclaimed.clear()
            self._unclaimed_bytes = 0
            return frames

    def close_source(self, source: str, exc: BaseException) -> None:
        """Fail the waiters for one client, because it has disconnected."""
        if not self._waiters:
            return
        with self._lock:
            keys = [wanted for wanted in self._waiters if wanted[1] == source]
            gone = [waiter for wanted in keys for waiter, _ in self._waiters.pop(wanted)]
        for waiter in gone:
            waiter.fail(fresh(exc))

    def close(self, exc: BaseException) -> None:
        """Fail all waiters, and those that are added later."""
        with self._lock:
            self._closed = exc
            waiting = [w for waiters in self._waiters.values() for w, _ in waiters]
            self._waiters.clear()
        for waiter in waiting:
            waiter.fail(fresh(exc))

    def reopen(self) -> None:
        """Accept waiters again."""
        self._closed = None
