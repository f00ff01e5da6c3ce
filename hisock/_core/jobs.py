"""Running handlers: the interface between the event table and its driver."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from types import CoroutineType
from typing import Any, NamedTuple, Protocol

from hisock._core.client_info import ClientInfo
from hisock._core.faults import is_answer, log_answer
from hisock.framing import Frame

#: Called with the result of a handler, or with its exception.
Done = Callable[[Any, "BaseException | None"], None]

#: The exceptions with which a handler ends the program; all others are errors of the handler.
ENDS_PROGRAM = (SystemExit, KeyboardInterrupt)


class Dropped(Exception):
    """What :class:`Job` tells of a handler that was never begun, as its connection has ended."""


class Runner(Protocol):
    """A driver's part: running handlers in threads and tasks, and reporting errors.

    :ivar has_loop: whether it can run coroutines.
    """

    has_loop: bool

    def report(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        """Report the error of a handler, with its command or event, and the client if any."""

    def in_thread(self, func: Callable[[], Any], job: Job, size: int) -> None:
        """Run a handler in another thread, by :meth:`Job.run`.

        :param size: bytes of its message.
        """

    def in_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        """Run a coroutine on the loop, then :meth:`Job.finish`.

        :param ordered: whether the next frames of the job's connection wait for its end.
        """


class Job(NamedTuple):
    """One run of a handler.

    :ivar connection: the driver's connection on which the frame arrived; ``None`` for events that
        belong to no connection.
    :ivar client: the client as it was when the frame arrived; ``None`` on a client.
    :ivar done: called with the result, or with the exception; ``None`` if no caller waits.
    :ivar runs: called with a function that cancels the handler if it runs as a task, or ``None``.
    :ivar size: bytes that its frame occupies; set for jobs that do not run at once.
    :ivar is_event: whether ``command`` is a reserved event, to which there is no answer.
    """

    runner: Runner
    command: str
    connection: Any
    client: ClientInfo | None
    done: Done | None = None
    runs: Callable[[Callable[[], Any]], None] | None = None
    size: int = 0
    is_event: bool = False

    def running(self) -> Job:
        """What its end needs: a handler that runs on does not keep a connection that has ended."""
        return Job(self.runner, self.command, None, self.client, self.done, is_event=self.is_event)

    def drop(self) -> None:
        """Tell that the handler will not begin."""
        if self.done is not None:
            self.done(None, Dropped())

    def finish(self, result: Any, exc: BaseException | None) -> None:
        """Report the error, if there is one, and answer the caller, if there is one."""
        if type(result) is CoroutineType:
            result, exc = None, never_awaited(result, self.command)
        if exc is not None:
            report(self.runner, exc, self.command, self.client, self.is_event)
        if self.done is not None:
            self.done(result, exc)

    def run(self, func: Callable[[], Any]) -> None:
        """Run the handler here and now.

        :raises SystemExit: the handler raised it, or ``KeyboardInterrupt``.
        """
        try:
            result = func()
        except ENDS_PROGRAM as exc:
            self.finish(None, exc)
            raise
        except BaseException as exc:
            self.finish(None, exc)
        else:
            if result is not None or self.done is not None:
                self.finish(result, None)


def report(
    runner: Runner,
    exc: BaseException,
    command: str | None,
    client: ClientInfo | None,
    is_event: bool = False,
) -> None:
    """Report what a handler raised, unless that ends the program, or is the answer to a command."""
    if isinstance(exc, ENDS_PROGRAM):
        return
    if command is not None and not is_event and is_answer(exc):
        log_answer(exc, command, client)
    else:
        runner.report(as_error(exc), command, client)


def never_awaited(coroutine: Any, command: str | None) -> TypeError:
    """The error of a plain handler that returns a coroutine, which nothing would ever run."""
    coroutine.close()  # else Python warns as well, of a line in here
    return TypeError(
        f"the handler of {command!r} returned the coroutine {coroutine.__qualname__}(), which "
        "nobody awaits; make the handler async def, and await it there"
    )


def as_error(exc: BaseException) -> Exception:
    """The error to report for what a handler raised.

    A plain handler that reads the result of a cancelled future raises ``asyncio.CancelledError``,
    which is no ``Exception``. That is a failure of the handler, not its cancellation.
    """
    if isinstance(exc, Exception):
        return exc
    error = RuntimeError(f"the handler raised {type(exc).__name__}")
    error.__cause__ = exc
    return error


class Origin(Protocol):
    """The connection on which a frame arrived.

    :ivar info: the client's current info, which handlers may change; ``None`` on a client.
    """

    @property
    def info(self) -> ClientInfo | None: ...


class Peer(Origin, Protocol):
    """The other end of a connection, as the dispatcher sees it.

    :ivar busy: how many handlers must end before the next frame may be handled.
    """

    busy: int

    def take_raw(self, payload: bytes) -> None:
        """Take a frame without a command."""

    def defer(self, frames: Iterator[Frame]) -> None:
        """Keep frames until the peer is no longer busy."""
