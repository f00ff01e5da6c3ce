"""The writing side of the framing core in Python: an outbox, and the ways of a frame into it.

Same names, results and errors as ``_outbox.pyx``; ``tests/framing`` compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from hisock._building_py import (
    MSG,
    beginnings_of,
    command_prefix,
    headers_of,
    remember_beginning,
    remember_header,
)
from hisock._chunks_py import QueuedBytes, joined, piece_of
from hisock._framing_common import (
    BY_REFERENCE,
    DEFAULT_HEADER_LEN,
    checked_header_len,
    reject_frame,
    reject_message,
)
from hisock._gathered_py import Gathered

# What became of a frame that was put into an outbox, and what is to be called.
REFUSED, QUEUED, DUE, FULL = 0, 1, 2, 4
#: Bytes of a message up to which its frame is made one piece at once: copying it twice is cheaper.
_SMALL = 4096
# Why an outbox does not just take a frame.
CLOSED, REFUSING, HOLDING = 1, 2, 4


class Outbox:
    """The frames that wait to be written to one peer, in order.

    :param queue: list that ``owner`` is appended to when the first frame comes after a take.
    :param owner: whatever finds this outbox again; it is only passed on.
    :param schedule: called when ``owner`` became the first in ``queue``.
    :param header_len: length of a header in bytes, 1 to 20.
    :param full: called with ``owner`` by the thread that queues a frame with which more than
        ``limit`` bytes wait; the frame is queued by then.

    Any thread may :meth:`send`, :meth:`write` and :meth:`close`; one thread takes. ``size`` and
    ``frames`` tell how many bytes and frames wait. ``limit`` is without bounds at first.

    A peer that is too slow can be refused more: while ``refusing`` is set, :meth:`send` and
    :meth:`write` queue nothing, count in ``refused`` and return ``False``.

    Who sends to its peer with :func:`send_client` is the ``sender``, ``None`` at first.
    """

    __slots__ = (
        "_beginnings",
        "_dirty",
        "_full",
        "_header_len",
        "_headers",
        "_held",
        "_more",
        "_pieces",
        "_queue",
        "_schedule",
        "_since",
        "_state",
        "limit",
        "owner",
        "refused",
        "sender",
        "size",
        "taken_bytes",
        "taken_frames",
    )

    def __init__(
        self,
        queue: list[Any],
        owner: object,
        schedule: Callable[[], object],
        header_len: int = DEFAULT_HEADER_LEN,
        full: Callable[[Any], object] | None = None,
    ) -> None:
        if not isinstance(queue, list):
            raise TypeError(f"queue must be a list, not {type(queue).__name__}")
        self._header_len = checked_header_len(header_len)
        self._headers = headers_of(self._header_len)
        self._beginnings = beginnings_of(self._header_len)
        self._queue = queue
        self.owner = owner
        self.sender: Any = None
        self._schedule = schedule
        self._full = full
        self.limit = sys.maxsize
        self._pieces: list[QueuedBytes] = []  # mostly frames
        self._more = 0  # how many frames more than pieces wait
        self._dirty = False
        self._state = 0
        self._held: Gathered | None = None
        self._since = 0  # how many frames of _held it has got already
        self.refused = 0
        self.size = 0
        self.taken_bytes = 0  # ever, for statistics
        self.taken_frames = 0

    @property
    def frames(self) -> int:
        return len(self._pieces) + self._more

    @property
    def closed(self) -> bool:
        return bool(self._state & CLOSED)

    @property
    def refusing(self) -> bool:
        return bool(self._state & REFUSING)

    @refusing.setter
    def refusing(self, refusing: bool) -> None:
        self._state = (self._state & ~REFUSING) | (REFUSING if refusing else 0)

    def send(self, command: str, message: bytes | None = None) -> bool:
        """Queue the frame of a command; ``False`` if the outbox is closed or refuses."""
        try:
            beginnings = self._beginnings[command]
            if message is None:
                frame = beginnings[None]
            elif isinstance(message, bytes):
                frame = beginnings[len(message)] + message
            else:
                return self._send_otherwise(command, message)
        except (KeyError, TypeError):
            return self._send_otherwise(command, message)
        # The rest is as in _put(), since one more call would cost a sixth of all this.
        if self._state and not self._accepts():
            return False
        self._pieces.append(frame)
        self.size = size = self.size + len(frame)
        if size > self.limit or not self._dirty or self._state:
            self._announce(self._settle())
        return True

    def _send_otherwise(self, command: str, message: bytes | None) -> bool:
        """Send what is long, or new as far as its beginning is concerned."""
        beginning = command_prefix(command)
        known: int | None = None
        if message is None:
            beginning = beginning[: -len(MSG)]
            message = b""
        elif isinstance(message, bytes):
            known = len(message)
        else:
            reject_message(message)
        length = len(beginning) + len(message)
        header = self._headers.get(length)
        if header is None:
            header = remember_header(self._headers, length, self._header_len)
        beginning = header + beginning
        if len(message) <= _SMALL:
            remember_beginning(self._beginnings, command, known, beginning)
            outcome = self._put((beginning + message,), self._header_len + length)
        else:
            piece = message if length < BY_REFERENCE else piece_of(message)
            outcome = self._put((beginning, piece), self._header_len + length)
        if outcome > QUEUED:
            self._announce(outcome)
        return outcome != REFUSED

    def write(self, frame: bytes, /) -> bool:
        """Queue a frame built before; ``False`` if the outbox is closed or refuses."""
        if not isinstance(frame, bytes):
            reject_frame(frame)
        outcome = self._put((piece_of(frame),), len(frame))
        if outcome > QUEUED:
            self._announce(outcome)
        return outcome != REFUSED

    def hold(self, gathered: Gathered, since: int, /) -> None:
        """Have what is gathered, from a number of frames on, go before whatever is queued next."""
        with gathered._lock:  # another thread may be about to say that it holds nothing any more
            if not self._state & CLOSED:
                self._held = gathered
                self._since = since
                self._state |= HOLDING

    def catch_up(self) -> None:
        """Queue the frames that are held, if there are any."""
        if self._state & HOLDING and self._queue_held():
            outcome = self._settle()
            if outcome != QUEUED:
                self._announce(outcome)

    def take(self) -> list[bytes]:
        """Return all that waits, mostly as one ``bytes``, and start afresh.

        Large messages are elements of their own. The rest is cut somewhere, into at most 96 KiB.
        """
        return self.take_until(sys.maxsize)

    def take_until(self, end: int, /) -> list[bytes]:
        """As :meth:`take`, but frames that are gathered stay held from the number ``end`` on."""
        if self._state & HOLDING:
            self._queue_held(end)
        # The flag first: what another thread appends from here on is announced again. (Only its
        # size may be missing until it is taken.)
        self._dirty = False
        pieces = self._pieces[:]
        del self._pieces[: len(pieces)]
        self.taken_bytes += self.size
        self.taken_frames += len(pieces) + self._more
        self.size = self._more = 0
        return joined(pieces)

    def release(self) -> None:
        """Let go of the owner, once it is closed; so the two are no reference cycle."""
        self.owner = None

    def close(self) -> None:
        """Drop what waits and accept nothing more."""
        self._state = CLOSED | (self._state & REFUSING)
        self._held = None
        self._pieces.clear()
        self.size = self._more = 0

    def _put(self, pieces: tuple[QueuedBytes, ...], size: int, count: int = 1) -> int:
        """Queue what makes up a frame, or several; return what became of it."""
        if self._state and not self._accepts():
            self.refused += (count - 1) * self.refusing
            return REFUSED
        # All at once, and before the flag is looked at: no frame may be torn apart by another
        # thread's, or fall between two takes.
        self._pieces.extend(pieces)
        self.size = size = self.size + size
        if count != len(pieces):
            self._more += count - len(pieces)
        if size > self.limit or not self._dirty or self._state:
            return self._settle()
        return QUEUED

    def _accepts(self) -> bool:
        """Whether a frame may be queued now; those that are held are queued before it."""
        if self._state & HOLDING:
            self._queue_held()
        state = self._state & ~HOLDING
        self.refused += bool(state & REFUSING)
        return not state

    def _queue_held(self, end: int = sys.maxsize) -> int:
        """Queue what is held before a number; return how many frames that was."""
        held = self._held
        if held is None:  # pragma: no cover - another thread is about to clear the flag
            return 0
        with held._lock:
            if self._held is not held:
                return 0  # another thread has queued it meanwhile
            at = max(self._since - held.first, 0)
            frames = held.frames[at : max(end - held.first, at)]
            end = held.first + at + len(frames)
            shared = held._joined[:2] == (self._since, end)
            self._since = max(end, self._since)
            if self._since >= held.first + len(held.frames):
                self._held = None
                self._state &= ~HOLDING
                held.caught_up[self] = end
            if not frames or self._state & ~HOLDING:
                self.refused += len(frames)
                return 0
            pieces = held._joined[2:] if shared else frames
            self._pieces.extend(map(piece_of, pieces))
            self.size += sum(map(len, pieces))
            self._more += len(frames) - len(pieces)
            return len(frames)

    def _settle(self) -> int:
        """Note the owner, if it is not noted; return what is to be called."""
        owner = self.owner  # before the state, since it is let go of after the outbox is closed
        if self._state & CLOSED:
            self.close()  # by another thread, meanwhile
            return QUEUED
        outcome = QUEUED
        if self.size > self.limit:
            outcome |= FULL
        if not self._dirty:
            self._dirty = True
            queue = self._queue
            try:
                queue.append(owner)
            except BaseException:  # else nothing would ever be written again
                self._dirty = False
                raise
            # Not "the length is 1": another thread may append between the two steps.
            first = queue[:1]
            if first and first[0] is owner:
                outcome |= DUE
        return outcome

    def _announce(self, outcome: int) -> None:
        if outcome & DUE:
            self._schedule()
        owner = self.owner
        if outcome & FULL and self._full is not None and owner is not None:
            self._full(owner)


def fan_out(outboxes: Iterable[Outbox], frame: bytes) -> int:
    """Write one frame to every outbox (of a dict: its keys); return how many accepted it."""
    return _write_to_all(outboxes, frame, 1, "fan_out")


def fan_out_joined(outboxes: Iterable[Outbox], frames: bytes, count: int, /) -> int:
    """Write several frames in one ``bytes`` to every outbox, which takes all of them or none."""
    return _write_to_all(outboxes, frames, count, "fan_out_joined")


def _write_to_all(outboxes: Iterable[Outbox], frame: bytes, count: int, name: str) -> int:
    if not isinstance(frame, bytes):
        reject_frame(frame)
    piece = (piece_of(frame),)
    size = len(frame)
    accepted = 0
    due: list[Outbox] = []
    full: list[Outbox] = []
    try:
        for outbox in list(outboxes):
            if not isinstance(outbox, Outbox):
                raise TypeError(f"{name}() writes to outboxes, not to {type(outbox).__name__}")
            outcome = outbox._put(piece, size, count)
            accepted += outcome != REFUSED
            if outcome > QUEUED:
                if outcome & DUE:
                    due.append(outbox)
                if outcome & FULL:
                    full.append(outbox)
    finally:
        for box in due:
            box._announce(DUE)
        for box in full:
            box._announce(FULL)
    return accepted


class Recipient:
    """What a frame can be sent to with nothing looked up: it has the outbox with it.

    ``_outbox`` is ``None`` without a connection: before the client joins and after it has left.
    """

    __slots__ = ("_outbox",)

    _outbox: Outbox | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        recipient = super().__new__(cls)
        object.__setattr__(recipient, "_outbox", None)
        return recipient


def send_client(
    self: Any,
    client: Recipient | tuple[str, int] | str,
    command: str,
    content: Any = None,
    volatile: bool = False,
    latest: str | None = None,
) -> None:
    """Send a command to one client.

    :param client: a :class:`ClientInfo`, ``(ip, port)``, ``"ip:port"`` or a name; several
        with that name: the one that joined first, and a warning.
    :raises ClientNotFound: no such client is connected.
    """
    recipient: Any = client
    if type(content) is bytes or type(content := self._codec.encode(content)) is bytes:
        try:
            outbox: Outbox = recipient._outbox
            frame = outbox._beginnings[command][len(content)] + content
        except (AttributeError, KeyError, TypeError):
            pass  # it is no recipient, or one that has gone; or a long message, or a new one
        else:
            if outbox.sender is self and not outbox._state and volatile is False and latest is None:
                # As in Outbox.send(), since one more call would cost a quarter of all this.
                outbox._pieces.append(frame)
                outbox.size = size = outbox.size + len(frame)
                if size > outbox.limit or not outbox._dirty or outbox._state:
                    outbox._announce(outbox._settle())
                return
    # Anything but bytes depends on what the peer is.
    if volatile is False and latest is None and (type(content) is bytes or content is None):
        try:
            outbox = recipient._outbox
            known = outbox.sender is self
        except AttributeError:
            known = False
        if known and (outbox.send(command, content) or not outbox.closed):
            return
    self._send_otherwise(client, command, content, volatile, latest)
