"""How handlers are run: what the event table asks of its driver."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple, Protocol

from hisock._core.client_info import ClientInfo

RawFrame = tuple[str | None, bytes | None]
#: Told of what a handler returned, or of what it raised.
Done = Callable[[Any, "BaseException | None"], None]

#: What a handler raises to end the program, not to report a fault. Everything else is its error.
ENDS_PROGRAM = (SystemExit, KeyboardInterrupt)


class Runner(Protocol):
    """What a driver does for handlers: it runs those that do not run here, and hears of errors.

    :ivar has_loop: whether it can run coroutines.
    """

    has_loop: bool

    def report(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        """A handler failed: the error, its command or event, the client if there is one."""

    def in_thread(self, func: Callable[[], Any], job: Job, size: int) -> None:
        """Run a handler in another thread, by :meth:`Job.run`.

        :param size: bytes of its message.
        """

    def in_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        """Run a coroutine on the loop, then :meth:`Job.finish`.

        :param ordered: what comes next on the job's connection waits for its end.
        """


class Job(NamedTuple):
    """One run of a handler.

    :ivar connection: what its frame came by, of the type that the driver dispatches for; ``None``
        for events that belong to no connection.
    :ivar client: the client as it was when the frame came; ``None`` on a client.
    :ivar done: told of the result, or of the exception; ``None`` when nobody waits for it.
    :ivar runs: told how to cancel the handler, if it runs as a task; ``None`` if nobody may.
    :ivar size: bytes that its frame occupies; told of jobs that do not run at once.
    """

    runner: Runner
    command: str
    connection: Any
    client: ClientInfo | None
    done: Done | None = None
    runs: Callable[[Callable[[], Any]], None] | None = None
    size: int = 0

    def finish(self, result: Any, exc: BaseException | None) -> None:
        """Report the error, if there is one, and answer the caller, if there is one."""
        if exc is not None and not isinstance(exc, ENDS_PROGRAM):
            self.runner.report(as_error(exc), self.command, self.client)
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
            if self.done is not None:
                self.done(result, None)


def as_error(exc: BaseException) -> Exception:
    """What a handler raised, as the error that is reported.

    ``asyncio.CancelledError`` is not an ``Exception``, and a plain handler that asks a cancelled
    future for its result raises one. It has failed; nobody has cancelled it.
    """
    if isinstance(exc, Exception):
        return exc
    error = RuntimeError(f"the handler raised {type(exc).__name__}")
    error.__cause__ = exc
    return error


class Origin(Protocol):
    """What a frame came by.

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

    def defer(self, frames: Iterator[RawFrame]) -> None:
        """Keep frames until the peer is no longer busy."""
