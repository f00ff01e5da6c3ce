"""Those who wait for a frame: the other half of ``recv``.

No threads here: the driver hands in a lock and what a waiter waits with (a
``concurrent.futures.Future``, an ``asyncio.Future``), so that the same rules serve all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from hisock._core.account import frame_size

#: Frames that nobody took are kept for a ``recv`` that is just about to be called: the answer to
#: a question may arrive before the thread that asked it gets from ``send`` to ``recv``.
UNCLAIMED_FRAMES = 32
UNCLAIMED_BYTES = 1024 * 1024
UNCLAIMED_SECONDS = 1.0


class Frame(NamedTuple):
    """A frame to be waited for.

    :ivar source: the address of the client that sent it, as text; ``None`` on a client.
    :ivar number: its place in the order of arrival; 0 as long as nobody waited for it.
    :ivar origin: what it came by, while it is on its way to a waiter.
    """

    command: str | None
    message: bytes | None
    source: str | None = None
    number: int = 0
    origin: Any = None


#: What somebody waits for: a command (``None``: any), of one client (``None``: of whichever).
Wanted = tuple["str | None", "str | None"]


class Waiter(Protocol):
    """Somebody who waits for one frame."""

    def deliver(self, frame: Frame) -> bool:
        """Hand it over; ``False`` when the waiter has given up meanwhile."""

    def fail(self, exc: BaseException) -> None:
        """Tell it that no frame will come."""


class _Unclaimed(NamedTuple):
    arrived: float
    observed: bool
    frame: Frame


class Waiting:
    """The waiters of one server or client, and the frames that nobody took just now.

    :param lock: guards everything in here; held for a few instructions at a time.
    :param clock: seconds, monotonic.
    :param frames: how many frames that nobody took are kept; ``most_bytes`` and ``seconds`` bound
        them too.
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
        self._waiters: dict[Wanted, deque[Waiter]] = {}
        self._unclaimed: deque[_Unclaimed] = deque()
        self._unclaimed_bytes = 0
        self._forgotten: list[str] = []
        self._arrived = 0
        self._asked_at = 0
        # A thread or task that sends and then waits is not disturbed by what another one sends.
        self._asked_by: WeakKeyDictionary[object, int] = WeakKeyDictionary()
        self._closed: BaseException | None = None

    def asked(self, asker: object) -> None:
        """Something was sent: what arrived before is no answer to it.

        :param asker: the thread or task that sent it.
        """
        with self._lock:
            self._asked_at = self._asked_by[asker] = self._arrived

    def add(self, wanted: Wanted, waiter: Waiter, asker: object = None) -> None:
        """Wait for a frame.

        It is served at once from the frames that nobody took and that came just now, after the
        latest send of this client.

        :param asker: the thread or task that waits; if it has sent something itself, only what
            came before that is too old for it.
        """
        with self._lock:
            own = None if asker is None else self._asked_by.get(asker)
            kept = self._take_unclaimed(wanted, self._asked_at if own is None else own)
            if kept is not None and waiter.deliver(kept):
                return
            if self._closed is not None:
                waiter.fail(self._closed)
            else:
                self._waiters.setdefault(wanted, deque()).append(waiter)

    def remove(self, wanted: Wanted, waiter: Waiter) -> None:
        """Stop waiting; does nothing for a waiter that has been served."""
        with self._lock:
            waiters = self._waiters.get(wanted)
            if waiters is not None and waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiters[wanted]

    def wants(self, command: str | None, source: str | None) -> bool:
        """Whether somebody waits for such a frame."""
        waiters = self._waiters
        return bool(waiters) and any(
            wanted in waiters
            for wanted in ((command, source), (command, None), (None, source), (None, None))
        )

    def offer(self, frame: Frame) -> bool:
        """Give a frame to the oldest waiter on its command, else to the oldest on any.

        Those who wait for that client come before those who wait for whichever.
        """
        if not self._waiters:
            return False
        with self._lock:
            return self._offer(frame)

    def _offer(self, frame: Frame) -> bool:
        command, source = frame.command, frame.source
        if not frame.number:
            self._arrived += 1
            frame = frame._replace(number=self._arrived)
        wanted: list[Wanted] = [(command, None)]
        if command is not None:
            wanted.append((None, None))
        if source is not None:
            wanted = [pair for name, _ in wanted for pair in ((name, source), (name, None))]
        return any(self._offer_to(pair, frame) for pair in wanted)

    def _offer_to(self, wanted: Wanted, frame: Frame) -> bool:
        waiters = self._waiters.get(wanted)
        while waiters:
            waiter = waiters.popleft()
            if not waiters:
                del self._waiters[wanted]
            if waiter.deliver(frame):
                return True
        return False

    def keep(self, frame: Frame, observed: bool = False) -> None:
        """Keep a frame that nobody took, for a short while and within a bound.

        One that comes back from a waiter takes its place among those that came before and after.

        :param observed: something has seen it, though nobody took it: it is not unhandled.
        """
        with self._lock:
            # Somebody may have come to wait since the frame was offered.
            if self._waiters and self._offer(frame):
                return
            if not frame.number:
                self._arrived += 1
            # It holds no connection that has gone meanwhile.
            kept = frame._replace(number=frame.number or self._arrived, origin=None)
            place = len(self._unclaimed)
            while place and self._unclaimed[place - 1].frame.number > kept.number:
                place -= 1  # it comes back from a waiter, and others came after it
            self._unclaimed.insert(place, _Unclaimed(self._clock(), observed, kept))
            self._unclaimed_bytes += frame_size(frame.command, frame.message)
            self._forget_old()
            self._forget_too_many()

    def unhandled(self) -> list[str]:
        """The commands of frames that nobody took in time, since this was last asked."""
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
        gone = self._unclaimed.popleft()
        self._unclaimed_bytes -= frame_size(gone.frame.command, gone.frame.message)
        if not gone.observed and gone.frame.command is not None:
            self._forgotten.append(gone.frame.command)

    def _take_unclaimed(self, wanted: Wanted, asked_at: int) -> Frame | None:
        self._forget_old()
        command, source = wanted
        for kept in self._unclaimed:
            frame = kept.frame
            if frame.number <= asked_at or (source is not None and frame.source != source):
                continue
            if command is None or frame.command == command:
                self._unclaimed.remove(kept)
                self._unclaimed_bytes -= frame_size(frame.command, frame.message)
                return frame
        return None

    def take_all(self) -> list[Frame]:
        """The frames that nobody took, oldest first; they are not kept any longer."""
        with self._lock:
            frames = [kept.frame for kept in self._unclaimed]
            self._unclaimed.clear()
            self._unclaimed_bytes = 0
            return frames

    def close_source(self, source: str, exc: BaseException) -> None:
        """Tell those who wait for one client that it is gone."""
        if not self._waiters:
            return
        with self._lock:
            keys = [wanted for wanted in self._waiters if wanted[1] == source]
            gone = [waiter for wanted in keys for waiter in self._waiters.pop(wanted)]
        for waiter in gone:
            waiter.fail(exc)

    def close(self, exc: BaseException) -> None:
        """Tell everybody who waits, now or later, that no frame will come."""
        with self._lock:
            self._closed = exc
            waiting = [w for waiters in self._waiters.values() for w in waiters]
            self._waiters.clear()
        for waiter in waiting:
            waiter.fail(exc)

    def reopen(self) -> None:
        """Frames may come again."""
        self._closed = None
