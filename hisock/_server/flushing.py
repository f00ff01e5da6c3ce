"""When clients are written to: those with something to write, in turn, a few in each turn."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hisock._runtime.loop_thread import LoopThread

if TYPE_CHECKING:
    from hisock._server.connection import Connection

#: Why a connection is not read: others are written to first.
TURN = "turn"
#: Connections written to in one iteration of the loop. The loop reads between two turns, and what
#: comes of that goes along with what is queued: the worst latency of a busy server is one round of
#: the queue, not that and one of reading nothing.
_MOST_WRITES = 64


class Flushing:
    """The queue of the connections with something to write.

    Outboxes append their connection to ``queue``, and call :meth:`schedule` when the queue was
    empty before. So a turn is scheduled whenever the queue is not empty. Everything else runs on
    the loop's thread.

    :ivar queue: the connections; threads append to it at any time, so it is cut, never replaced.
    :ivar reading: set while a connection is read. No turn is scheduled meanwhile, since an answer
        to the connection itself is written at once.
    :ivar due: whether one has to be scheduled when ``reading`` ends; see :meth:`finish_reading`.
    """

    __slots__ = ("_resuming", "_thread", "_written", "due", "queue", "reading")

    def __init__(self, thread: LoopThread) -> None:
        self.queue: list[Connection] = []
        self.reading = False
        self.due = False
        self._thread = thread
        #: How many have left the queue, ever.
        self._written = 0
        # Connections that are not read, each until so many have left the queue.
        self._resuming: deque[tuple[int, Connection]] = deque()

    def schedule(self) -> None:
        """Write what is queued when this iteration of the loop has read. From any thread."""
        thread = self._thread
        if not thread.is_current():
            if not thread.post(self._take_turn):
                self.queue.clear()  # the loop has ended, and all connections with it
        elif self.reading:
            self.due = True
        else:
            thread.loop.call_soon(self._take_turn)

    def add(self, connection: Connection) -> None:
        """Queue a connection. From any thread."""
        self.queue.append(connection)
        # Not "the length is 1": another thread may append between the two steps.
        if self.queue[:1] == [connection]:
            self.schedule()

    def finish_reading(self, connection: Connection) -> None:
        """Write what is due because of a connection that was read.

        An answer to the connection itself is written at once, which saves the loop an iteration.
        What goes to others waits until all has been read: the next connection may add to it.
        """
        self.due = False
        queue = self.queue
        if len(queue) == 1 and queue[0] is connection:
            del queue[0]
            self._written += 1
            connection.writer.flush()
        if queue:
            self._thread.loop.call_soon(self._take_turn)

    def read_in_turn(self, connection: Connection) -> None:
        """Read on from a connection only when all that are queued now are written to."""
        connection.pauses.set(TURN, True)
        if self.queue:
            self._resuming.append((self._written + len(self.queue), connection))
        else:
            self._thread.loop.call_soon(connection.pauses.set, TURN, False)

    def _take_turn(self) -> None:
        queue = self.queue
        batch = queue[:_MOST_WRITES]
        del queue[: len(batch)]
        self._written += len(batch)
        for connection in batch:
            connection.writer.flush()
        resuming = self._resuming
        while resuming and resuming[0][0] <= self._written:
            resuming.popleft()[1].pauses.set(TURN, False)
        if queue:
            self._thread.loop.call_soon(self._take_turn)
