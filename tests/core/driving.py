"""A driver without I/O: it runs handlers at once, and keeps what they report."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext
from typing import Any

from hisock._core.client_events import ClientEvents
from hisock._core.client_info import ClientInfo
from hisock._core.codec import find_codec
from hisock._core.jobs import Job
from hisock._core.server_events import ServerEvents
from hisock._core.waiting import ReceivedFrame, Waiting
from hisock.framing import Frame

ADA = ClientInfo(("127.0.0.1", 5000), "Ada", "red")


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make_waiting(clock: Clock | None = None, **bounds: Any) -> Waiting:
    return Waiting(nullcontext(), clock or Clock(), **bounds)


class KeptWaiter:
    """A waiter that keeps what it gets.

    :param gone: it has given up, and nobody has noticed.
    """

    def __init__(self, gone: bool = False) -> None:
        self.gone = gone
        self.frames: list[ReceivedFrame] = []
        self.failures: list[BaseException] = []

    def deliver(self, frame: ReceivedFrame) -> bool:
        if not self.gone:
            self.frames.append(frame)
        return not self.gone

    def fail(self, exc: BaseException) -> None:
        self.failures.append(exc)

    @property
    def messages(self) -> list[bytes | None]:
        return [frame.message for frame in self.frames]


class HandRunner:
    """Runs handlers where a test calls it, and keeps what it is told.

    :ivar reports: errors, each with command and client.
    :ivar sizes: bytes of the messages of threaded handlers.
    :ivar started: coroutines that wait for :meth:`finish`, each with its job and whether what
        follows waits for it.
    """

    def __init__(self, has_loop: bool = True) -> None:
        self.has_loop = has_loop
        self.reports: list[tuple[Exception, str | None, ClientInfo | None]] = []
        self.sizes: list[int] = []
        self.jobs: list[Job] = []
        self.started: list[tuple[Coroutine[Any, Any, Any], Job, bool]] = []

    def report(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        self.reports.append((exc, command, client))

    def in_thread(self, func: Callable[[], Any], job: Job, size: int) -> None:
        self.sizes.append(size)
        self.jobs.append(job)
        job.run(func)

    def in_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        self.started.append((coroutine, job, ordered))

    def finish(self) -> None:
        """Run the oldest coroutine to its end; it may await nothing."""
        coroutine, job, _ = self.started.pop(0)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            job.finish(stop.value, None)
        except Exception as exc:
            job.finish(None, exc)

    @property
    def errors(self) -> list[str]:
        return [str(exc) for exc, _, _ in self.reports]


class HandPeer:
    """What frames come by; keeps those without a command, and those that have to wait."""

    def __init__(self, info: ClientInfo | None = ADA) -> None:
        self.info = info
        self.busy = 0
        self.raw: list[bytes] = []
        self.deferred: list[Frame] = []

    def take_raw(self, payload: bytes) -> None:
        self.raw.append(payload)

    def defer(self, frames: Iterator[Frame]) -> None:
        self.deferred += frames


class ServerSide:
    """The events of a server, with one client."""

    def __init__(self, cache_size: int = -1) -> None:
        self.clock = Clock()
        self.runner = HandRunner()
        self.peer = HandPeer()
        self.waiting = make_waiting(self.clock)
        self.events = ServerEvents(self.waiting, self.runner, find_codec("json"), 16, cache_size)

    def send(self, *frames: Frame) -> None:
        self.events.dispatch(self.peer, iter(frames))


class ClientSide:
    """The events of a client."""

    def __init__(self, reconnects: bool = False, has_loop: bool = True) -> None:
        self.clock = Clock()
        self.runner = HandRunner(has_loop)
        self.peer = HandPeer(None)
        self.waiting = make_waiting(self.clock)
        self.events = ClientEvents(
            self.waiting, self.runner, find_codec("json"), 16, -1, reconnects=reconnects
        )

    def send(self, *frames: Frame) -> None:
        self.events.dispatch(self.peer, iter(frames))
