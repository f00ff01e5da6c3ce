"""Those who wait for a frame: the other half of ``recv``.

No threads here: the driver hands in a lock and what a waiter waits with (a
``concurrent.futures.Future``, an ``asyncio.Future``), so that the same rules serve all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

#: Frames that nobody took are kept for a ``recv`` that is just about to be called: the answer to
#: a question may arrive before the thread that asked it gets from ``send`` to ``recv``.
UNCLAIMED_FRAMES = 32
UNCLAIMED_BYTES = 1024 * 1024
UNCLAIMED_SECONDS = 1.0


class Frame(NamedTuple):
    command: str | None
    message: bytes | None


class Waiter(Protocol):
    """Somebody who waits for one frame."""

    def deliver(self, frame: Frame) -> bool:
        """Hand it over; ``False`` when the waiter has given up meanwhile."""

    def fail(self, exc: BaseException) -> None:
        """Tell it that no frame will come."""


class _Unclaimed(NamedTuple):
    number: int
    arrived: float
    frame: Frame


class Waiting:
    """The waiters of one server or client, and the frames that nobody took just now.

    :param lock: guards everything in here; held for a few instructions at a time.
    :param clock: seconds, monotonic.
    """

    def __init__(self, lock: AbstractContextManager[Any], clock: Callable[[], float]) -> None:
        self._lock = lock
        self._clock = clock
        self._by_command: dict[str | None, deque[Waiter]] = {}
        self._unclaimed: deque[_Unclaimed] = deque(maxlen=UNCLAIMED_FRAMES)
        self._unclaimed_bytes = 0
        self._arrived = 0
        self._asked_at = 0
        self._closed: BaseException | None = None

    def asked(self) -> None:
        """Something was sent: what arrived before is no answer to it."""
        self._asked_at = self._arrived

    def add(self, command: str | None, waiter: Waiter) -> None:
        """Wait for a frame with that command; ``None`` for any frame.

        It is served at once from the frames that came just now and that nobody took.
        """
        with self._lock:
            if self._closed is not None:
                waiter.fail(self._closed)
                return
            kept = self._take_unclaimed(command)
            if kept is None or not waiter.deliver(kept):
                self._by_command.setdefault(command, deque()).append(waiter)

    def remove(self, command: str | None, waiter: Waiter) -> None:
        """Stop waiting; does nothing for a waiter that has been served."""
        with self._lock:
            waiters = self._by_command.get(command, ())
            if waiter in waiters:
                assert isinstance(waiters, deque)
                waiters.remove(waiter)
                if not waiters:
                    del self._by_command[command]

    def offer(self, frame: Frame) -> bool:
        """Give a frame to the oldest waiter on its command, else to the oldest on any."""
        if not self._by_command:
            return False
        with self._lock:
            return self._offer_to(frame.command, frame) or (
                frame.command is not None and self._offer_to(None, frame)
            )

    def _offer_to(self, command: str | None, frame: Frame) -> bool:
        waiters = self._by_command.get(command)
        while waiters:
            waiter = waiters.popleft()
            if not waiters:
                del self._by_command[command]
            if waiter.deliver(frame):
                return True
        return False

    def keep(self, frame: Frame) -> None:
        """Keep a frame that nobody took, for a short while and within a bound."""
        with self._lock:
            # Somebody may have come to wait since the frame was offered.
            if self._by_command and (
                self._offer_to(frame.command, frame) or self._offer_to(None, frame)
            ):
                return
            if len(self._unclaimed) == UNCLAIMED_FRAMES:
                self._forget_oldest()
            self._arrived += 1
            self._unclaimed.append(_Unclaimed(self._arrived, self._clock(), frame))
            self._unclaimed_bytes += len(frame.message or b"")
            while self._unclaimed_bytes > UNCLAIMED_BYTES and len(self._unclaimed) > 1:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._unclaimed_bytes -= len(self._unclaimed.popleft().frame.message or b"")

    def _take_unclaimed(self, command: str | None) -> Frame | None:
        oldest = self._clock() - UNCLAIMED_SECONDS
        while self._unclaimed and self._unclaimed[0].arrived < oldest:
            self._forget_oldest()
        for kept in self._unclaimed:
            if kept.frame.command == command or (command is None and kept.number > self._asked_at):
                self._unclaimed.remove(kept)
                self._unclaimed_bytes -= len(kept.frame.message or b"")
                return kept.frame
        return None

    def close(self, exc: BaseException) -> None:
        """Tell everybody who waits, now or later, that no frame will come."""
        with self._lock:
            self._closed = exc
            waiting = [w for waiters in self._by_command.values() for w in waiters]
            self._by_command.clear()
            self._unclaimed.clear()
            self._unclaimed_bytes = 0
        for waiter in waiting:
            waiter.fail(exc)

    def reopen(self) -> None:
        """Frames may come again."""
        self._closed = None
