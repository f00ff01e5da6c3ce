"""The tasks of an async client's ``concurrent`` handlers, with the bound that servers have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import Any

from hisock._core.account import TASK_COST, Account, Total
from hisock._core.jobs import Job
from hisock._runtime.concurrency import Concurrency, TaskPlace
from hisock._runtime.tasks import Tasks
from hisock._runtime.turns import Turns


class ConcurrentTasks:
    """Starts such handlers; when there are too many, the server's next frames wait.

    :param hold_up: called when the server's next frames have to wait; ``let_go_on`` afterwards.
    :param call_soon: calls a function in the next iteration of the loop.
    :ivar account: counts the tasks, of all connections of the client together.
    """

    #: All connections are of one client: there are no others of its address.
    address = None

    def __init__(
        self,
        hold_up: Callable[[], None],
        let_go_on: Callable[[], None],
        call_soon: Callable[..., object],
    ) -> None:
        total = Total(sys.maxsize)
        self.account = Account(total)
        #: See :class:`hisock._runtime.concurrency.TaskOwner`.
        self.begin, self.idle = hold_up, let_go_on
        self._concurrency = Concurrency(total)
        self._turns = Turns(call_soon)

    def start(self, tasks: Tasks, coroutine: Coroutine[Any, Any, Any], job: Job) -> None:
        """Run a handler as one of these tasks."""
        self._turns.count(self)
        place = TaskPlace(self._concurrency, self, job.size + TASK_COST)
        tasks.start(coroutine, job, place.begin, place)
