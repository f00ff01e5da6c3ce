"""The bound on tasks of ``concurrent`` handlers, for each client and for each address."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from hisock._core.account import Total, Use
from hisock._runtime import work

_KINDS = (Use.CONCURRENT,)


class TaskOwner(work.WorkOwner, Protocol):
    """A client that has tasks."""

    def begin(self) -> None:
        """Defer the client's next frames."""

    def idle(self) -> None:
        """Stop deferring them, as far as this reason goes."""


class Concurrency:
    """Defers the frames of clients that have too many tasks. Runs on the loop's thread.

    Tasks of disconnected clients count for their address until they end, so that a client gains
    nothing by reconnecting.

    :param total: the total that the owners' accounts are part of.
    """

    def __init__(self, total: Total) -> None:
        self._total = total
        self._lines: dict[TaskOwner, work.Line] = {}
        # By address, while there are tasks of any of its clients.
        self._gone: dict[Hashable, work.Gone] = {}

    def begin(self, owner: TaskOwner, size: int) -> work.Line:
        """A task of a client is running.

        :returns: the line to call :meth:`end` with.
        """
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = self._new_line(owner)
        line.running += 1
        line.account.take(Use.CONCURRENT, size)
        if not line.full and line.holds_much:
            line.full = True
            if not line.gone.roomy:
                line.gone.held_up.append(line)
            owner.begin()
        return line

    def end(self, owner: TaskOwner, line: work.Line, size: int) -> None:
        """A task has ended."""
        line.running -= 1
        line.account.free(Use.CONCURRENT, size)
        gone = line.gone
        relieved = [line]
        if line.left and gone.roomy:
            relieved += gone.held_up
            gone.held_up.clear()
        if not line.running:
            self._forget(owner, line)
        for each in relieved:
            _relieve(each)

    def leave(self, owner: TaskOwner) -> None:
        """A client has disconnected; its tasks continue."""
        line = self._lines.pop(owner, None)
        if line is not None:
            line.leave()

    def _new_line(self, owner: TaskOwner) -> work.Line:
        gone = self._gone.get(owner.address)
        if gone is None:
            gone = work.Gone(owner.address, self._total, _KINDS)
            self._gone[owner.address] = gone
        gone.lines += 1
        return work.Line(owner, owner.account, gone)

    def _forget(self, owner: TaskOwner, line: work.Line) -> None:
        if self._lines.get(owner) is line:
            del self._lines[owner]
        line.gone.lines -= 1
        if not line.gone.lines:
            del self._gone[line.gone.address]


def _relieve(line: work.Line) -> None:
    owner: TaskOwner = line.owner
    if line.full and not line.left and line.holds_little:
        line.full = False
        owner.idle()
