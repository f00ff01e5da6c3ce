"""The threads of a client's ``threaded`` handlers, and how much may wait for one."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any

from hisock._core.account import BOUNDS, WORK_COST, Account, Total, Use
from hisock._core.jobs import Job
from hisock._runtime import work
from hisock._runtime.threads import Threads
from hisock.exceptions import ConnectionLost

#: Seconds between two looks at whether threads that are behind have caught up.
LOOK_SECONDS = 0.01
#: Times the bound on what waits for a thread that is put up with while handlers wait for replies,
#: which nobody would read if reading paused.
_MOST_TIMES = 16
#: Seconds after which threads that all wait for the server, of which nothing may be read, are taken
#: to wait for ever.
STUCK_SECONDS = 30.0


class ThreadedWork:
    """The account of what waits for the threads of one client."""

    #: All connections are of one client: there are no others of its address.
    address = None

    def __init__(self) -> None:
        self.account = Account(Total(sys.maxsize))
        self._lock = threading.Lock()
        #: Times that the threads fell behind less times that they have caught up.
        self._behind = 0
        #: How many pieces wait, as long as none has been begun, and since when.
        self._queued = -1
        self._since = 0.0

    def change(self, by: int) -> None:
        """The threads have fallen behind (1), or caught up (-1); which may be told the other way
        round, by two threads."""
        with self._lock:
            self._behind += by

    @property
    def behind(self) -> bool:
        """Whether reading pauses, since the threads do not keep up."""
        return self._behind > 0

    @property
    def much_too_much(self) -> bool:
        """Whether nothing more may be read, whatever anybody waits for."""
        account, bound = self.account, BOUNDS[Use.QUEUED]
        return (
            account.count(Use.QUEUED) > _MOST_TIMES * bound.items
            or account.size(Use.QUEUED) > _MOST_TIMES * bound.size
        )

    def holds_up_reading(self, awaited: int) -> bool:
        """Whether nothing may be read now, since threads are behind.

        :param awaited: how many wait for what would be read: some of them may be these threads, and
            so not go on.
        """
        held_up = self.behind and (self.much_too_much or not awaited)
        if not held_up:
            self._queued = -1
        return held_up

    def stuck(self, awaited: int, now: float) -> ConnectionLost | None:
        """The error to end a connection with that all threads wait for while it is not read."""
        queued = self.account.count(Use.QUEUED)
        if awaited < work.MOST_THREADS or queued != self._queued:
            self._queued, self._since = queued, now
        if now - self._since < STUCK_SECONDS:
            return None
        self._queued = -1  # the next connection, if there is one, has as long
        return ConnectionLost(
            f"all {work.MOST_THREADS} threads wait for the server, of which nothing may be read "
            f"while {queued} messages wait for them; give what handlers wait for a timeout"
        )


class ThreadedHandlers:
    """The part of a client that runs handlers in threads."""

    #: What waits for them; ``None`` before the first of them.
    work_made: ThreadedWork | None = None

    @property
    def workers(self) -> Threads:
        """The threads of its ``threaded`` handlers; made for the first of them."""
        made: Threads | None = self.__dict__.get("workers_made")
        if made is None:  # one thread may close them while another has work for them
            # What runs does not count: one long message may run for long, and hold up nothing else.
            kinds = (Use.QUEUED,)
            made = Threads("hisock-client", lambda work: self.threads_keep_up(), kinds=kinds)
            made = self.__dict__.setdefault("workers_made", made)
        return made

    @property
    def work(self) -> ThreadedWork:
        """What waits for them; made for the first of them."""
        made = self.work_made
        if made is None:
            made = self.__dict__.setdefault("work_made", ThreadedWork())
        return made

    def in_thread(self, func: Callable[[], Any], job: Job, size: int) -> None:
        """Run a handler in a thread of its own."""
        # The context marks what a handler of "reconnect" sends.
        run = contextvars.copy_context().run
        if self.workers.submit_for(self.work, size + WORK_COST, run, job.run, func):
            self.threads_fall_behind()

    def threads_fall_behind(self) -> None:
        """So much waits for a thread that reading has to pause."""
        self.work.change(1)

    def threads_keep_up(self) -> None:
        """Little waits for a thread again. In any thread."""
        self.work.change(-1)

    def forget_workers(self) -> None:
        """The threads are those of another process."""
        self.__dict__.pop("workers_made", None)
        self.__dict__.pop("work_made", None)
