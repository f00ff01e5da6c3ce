"""Flushing: the queue of connections with frames to write, a few of them per loop iteration."""

from __future__ import annotations

from collections import OrderedDict
from time import perf_counter
from typing import TYPE_CHECKING

from hisock._runtime.loop_thread import LoopThread
from hisock.framing import FlushQueue

if TYPE_CHECKING:
    from hisock._server.connection import Connection

#: The reason for a pause in reading: the connections in the queue are flushed first.
TURN = "turn"
#: Connections flushed in one iteration of the loop. The loop reads between two turns, and new
#: frames join those that are queued: the worst latency of a busy server is one round of the queue.
_MOST_WRITES = 64
#: The same where the loop has been away for :data:`_LONG` seconds since the turn before, with other
#: work than writes: a round of the queue takes few such iterations, or answers would be late.
_MOST_WRITES_IF_LATE = 4 * _MOST_WRITES
_LONG = 0.005
#: Connections that are read again in one iteration, of those that sent a whole buffer: however many
#: flood the server, the others wait for so many reads only.
_MOST_LONG_READS = 4


class Flushing(FlushQueue):
    """The queue of the connections with something to write.

    Outboxes append their connection to ``queue``, and call :meth:`schedule` if the queue was empty:
    while it is not, a turn is scheduled already. Everything else runs on the loop's thread.

    :ivar reads_less: whether this iteration has taken long enough, so that reads are shorter.
    """

    __slots__ = ("_resumes", "_resuming", "_thread", "_turned", "is_current", "reads_less")

    def __init__(self, thread: LoopThread) -> None:
        super().__init__()
        self.is_current = thread.is_current
        self.reads_less = False
        self._thread = thread
        # Paused connections in order, each with the value of `written` at which reading resumes.
        self._resuming: OrderedDict[Connection, int] = OrderedDict()
        #: Whether :meth:`_resume` is scheduled.
        self._resumes = False
        #: When the last turn has ended, if it left something in the queue.
        self._turned: float | None = None

    def schedule_turn(self) -> None:
        """Flush the queue in the next iteration of the loop. From any thread."""
        if self._thread.is_current():
            self.turn_soon()
        elif not self._thread.post(self._take_turn):
            self.queue.clear()  # the loop has ended, and all connections with it

    def turn_soon(self) -> None:
        """Flush the queue in the next iteration of the loop."""
        self._thread.loop.call_soon(self._take_turn)

    def add(self, connection: Connection) -> None:
        """Queue a connection. From any thread."""
        self.queue.append(connection)
        # Not `len(queue) == 1`: another thread may append between the two lines.
        if self.queue[:1] == [connection]:
            self.schedule()

    def read_in_turn(self, connection: Connection) -> None:
        """Pause reading from a connection until all that are queued now have been flushed.

        Those that are paused are read again in turn, a few in each iteration of the loop.
        """
        connection.pauses.set(TURN, True)
        self._resuming.setdefault(connection, self.written + len(self.queue))
        if not self.queue:
            self._resume_soon()

    def leave(self, connection: Connection) -> None:
        """A connection has ended: it does not wait for its turn to be read any more, if it did."""
        if self._resuming.pop(connection, None) is not None:
            connection.pauses.set(TURN, False)

    def _resume_soon(self) -> None:
        if not self._resumes:
            self._resumes = True
            self._thread.loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._resumes = False
        resuming = self._resuming
        for _ in range(_MOST_LONG_READS):
            if not self._may_resume:
                return
            resuming.popitem(last=False)[0].pauses.set(TURN, False)
        if self._may_resume:
            self._resume_soon()

    @property
    def _may_resume(self) -> bool:
        """Whether it is the turn of the first that is paused."""
        return bool(self._resuming) and next(iter(self._resuming.values())) <= self.written

    def _take_turn(self) -> None:
        late = self._turned is not None and perf_counter() - self._turned > _LONG
        self._turned = None
        try:
            self.flush_first(_MOST_WRITES_IF_LATE if late else _MOST_WRITES)
            if self._resuming and not self._resumes:
                self._resume()
        finally:
            if self.queue:  # also when one has failed: nothing else schedules a turn while it lasts
                self._turned = perf_counter()
                self.turn_soon()
