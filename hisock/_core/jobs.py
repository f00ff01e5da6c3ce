"""How handlers are run: what the event table asks of its driver."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple, Protocol

from hisock._core.client_info import ClientInfo

RawFrame = tuple[str | None, bytes | None]
#: Told of what a handler returned, or of what it raised.
Done = Callable[[Any, "Exception | None"], None]


class Runner(Protocol):
    """What a driver does for handlers: it runs those that do not run here, and hears of errors.

    :ivar has_loop: whether it can run coroutines.
    """

    has_loop: bool

    def report(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        """A handler failed: the error, its command or event, the client if there is one."""

    def in_thread(self, func: Callable[[], Any], job: Job, size: int) -> None:
        """Run a handler in another thread, then :meth:`Job.finish`.

        :param size: bytes of its message.
        """

    def in_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        """Run a coroutine on the loop, then :meth:`Job.finish`.

        :param ordered: what the client sends next waits for its end.
        """


class Job(NamedTuple):
    """One run of a handler.

    :ivar done: told of the result, or of the exception; ``None`` when nobody waits for it.
    """

    runner: Runner
    command: str
    client: ClientInfo | None
    done: Done | None = None

    def finish(self, result: Any, exc: Exception | None) -> None:
        if exc is not None:
            self.runner.report(exc, self.command, self.client)
        if self.done is not None:
            self.done(result, exc)

    def run(self, func: Callable[[], Any]) -> None:
        """Run the handler here and now."""
        try:
            result = func()
        except Exception as exc:
            self.finish(None, exc)
        else:
            if self.done is not None:
                self.done(result, None)


class Peer(Protocol):
    """The other end of a connection, as the dispatcher sees it.

    :ivar info: the client's current info, which handlers may change on the way.
    :ivar busy: how many handlers must end before the next frame may be handled.
    """

    busy: int

    @property
    def info(self) -> ClientInfo | None: ...

    def take_raw(self, payload: bytes) -> None:
        """Take a frame without a command."""

    def defer(self, frames: Iterator[RawFrame]) -> None:
        """Keep frames until the peer is no longer busy."""
