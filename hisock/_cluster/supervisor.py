"""The parent of several workers: it starts them, restarts those that die, and ends them all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hisock._cluster.control import ControlMessage
from hisock._cluster.local_hub import LocalHub
from hisock._cluster.sharing import SharedAddress
from hisock._cluster.worker_process import WorkerProcess
from hisock._core.log_fields import fields
from hisock.exceptions import ServerException

logger = logging.getLogger("hisock.server")

#: Seconds that a worker may take until it accepts clients.
_START_SECONDS = 60.0
#: Seconds before a worker that died is started again; doubled each time, up to the second number.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
#: Seconds after which a worker counts as healthy, so that the pause begins anew.
_HEALTHY_SECONDS = 60.0
#: Above this pause, in seconds, clients are not kept waiting in the backlog of a worker.
_PATIENCE = 1.0


class WorkersFailed(ServerException):
    """The workers could not be started; the text says why. Each has said more on its own."""


class Supervisor:
    """Runs the same program in several processes, each with sockets of the same addresses.

    :param command: what a worker runs.
    :param addresses: where they listen.
    :param count: how many workers.
    :param stop_timeout: seconds that a worker has to end, before it is killed.
    :param ready: called once when all of them accept clients.
    """

    def __init__(
        self,
        command: Sequence[str],
        addresses: list[SharedAddress],
        count: int,
        stop_timeout: float,
        ready: Callable[[], None],
    ) -> None:
        self._command = command
        self._addresses = addresses
        self._count = count
        self._stop_timeout = stop_timeout
        self._ready = ready
        self._workers: dict[int, WorkerProcess] = {}
        self._replacing: asyncio.Task[None] | None = None
        self._again = False
        self._interrupted = False
        self._failure: str | None = None
        self._lock = threading.Lock()
        self._asked_to_stop = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> bool:
        """Run until told to end; returns whether Ctrl-C was the cause.

        :raises WorkersFailed: a worker ended before it accepted clients.
        """
        folder = tempfile.mkdtemp(prefix="hisock-")  # only this user may enter it
        try:
            loop = asyncio.new_event_loop()
            try:
                with self._signals(loop):
                    loop.run_until_complete(self._supervise(folder))
            finally:
                loop.close()
        finally:
            for address in self._addresses:
                address.close()
            shutil.rmtree(folder, ignore_errors=True)
        if self._failure is not None:
            raise WorkersFailed(self._failure)
        return self._interrupted

    def stop(self, timeout: float | None = None) -> None:
        """End all workers. From any thread.

        :param timeout: seconds that they have, in place of ``stop_timeout``.
        """
        with self._lock:
            if timeout is not None:
                self._stop_timeout = min(self._stop_timeout, timeout)
            self._asked_to_stop = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stopping.set)

    @contextlib.contextmanager
    def _signals(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """React to signals, where this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reactions: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self._interrupt,
            signal.SIGHUP: self._replace_all,
        }
        before = {number: signal.getsignal(number) for number in reactions}
        for number, reaction in reactions.items():
            loop.add_signal_handler(number, reaction)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _interrupt(self) -> None:
        """Ctrl-C: the first time in order, the second time at once."""
        if self._interrupted:
            for worker in self._all():
                worker.kill()
        self._interrupted = True
        self.stop()

    # -- on the loop

    async def _supervise(self, folder: str) -> None:
        self._folder = folder
        self._stopping = asyncio.Event()
        #: Held while a worker is started in place of another.
        self._changing = [asyncio.Lock() for _ in range(self._count)]
        #: Workers that are being replaced, or that are starting.
        self._others: set[WorkerProcess] = set()
        with self._lock:
            self._loop = asyncio.get_running_loop()
            if self._asked_to_stop:
                return
        keepers: list[asyncio.Task[None]] = []
        hub = LocalHub(Path(folder))
        await hub.start()
        try:
            # The first one alone, so that what is wrong with the program is said once.
            began = await self._begin(0) and await self._begin_rest()
            if began:
                keepers = [asyncio.ensure_future(self._keep(n)) for n in range(self._count)]
                self._ready()
                await self._stopping.wait()
        finally:
            for task in [*keepers, *([self._replacing] if self._replacing else [])]:
                task.cancel()
            for address in self._addresses:
                address.close()
            await asyncio.gather(*(one.end(self._stop_timeout) for one in self._all()))
            hub.close()

    def _all(self) -> list[WorkerProcess]:
        return [*self._workers.values(), *self._others]

    async def _begin_rest(self) -> bool:
        return all(await asyncio.gather(*(self._begin(n) for n in range(1, self._count))))

    async def _begin(self, number: int) -> bool:
        """Start a worker for the first time; returns whether it accepts clients."""
        worker = await self._start(number)
        if worker is None:
            return False
        self._workers[number] = worker
        return True

    async def _start(self, number: int) -> WorkerProcess | None:
        """Start a worker, and wait until it accepts clients; ``None`` if it does not."""
        worker = WorkerProcess(number, self._hear)
        try:
            listeners = [address.open(number).fileno() for address in self._addresses]
            await worker.start(self._command, listeners, count=self._count, folder=self._folder)
        except OSError as exc:
            self._failure = f"worker {number} could not be started: {exc}"
            return None
        self._others.add(worker)
        stopping = asyncio.ensure_future(self._stopping.wait())
        starting = asyncio.ensure_future(worker.wait_ready(_START_SECONDS))
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and starting.result():
                self._others.discard(worker)
                return worker
        finally:
            starting.cancel()
            stopping.cancel()
        if self._stopping.is_set():
            return None  # it is ended with all others
        if worker.ended.done():
            self._failure = (
                f"worker {number} ended with {worker.how_it_ended()} before it accepted clients"
            )
        else:
            self._failure = f"worker {number} accepted no clients within {_START_SECONDS:g} seconds"
            await worker.end(0)
        self._others.discard(worker)
        return None

    def _hear(self, worker: WorkerProcess, message: ControlMessage) -> None:
        """A worker says something."""

    async def _keep(self, number: int) -> None:
        """Start a worker anew whenever it ends, until all are to end."""
        pause = _FIRST_PAUSE
        while True:
            worker = self._workers[number]
            await asyncio.wait((worker.ended,))
            if self._workers[number] is not worker:
                continue  # it was replaced
            if worker.ended.result() == 0:
                said = fields("workers_end")
                logger.info("worker %d closed its server, so all workers end", number, extra=said)
                self.stop()
                return
            if time.monotonic() - worker.began > _HEALTHY_SECONDS:
                pause = _FIRST_PAUSE
            logger.warning(
                "worker %d (process %d) ended with %s; it is started again in %g s",
                number,
                worker.pid,
                worker.how_it_ended(),
                pause,
                extra=fields("worker_ended", reason=worker.how_it_ended()),
            )
            await self._restart(number, pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _restart(self, number: int, pause: float) -> None:
        if pause > _PATIENCE:
            for address in self._addresses:
                address.release(number)
        await asyncio.sleep(pause)
        async with self._changing[number]:
            if not self._workers[number].ended.done():
                return  # it was replaced meanwhile
            worker = await self._start(number)
            if worker is not None:
                self._workers[number] = worker
            elif self._failure is not None:
                said = fields("worker_failed", reason=self._failure)
                logger.error("%s", self._failure, extra=said)
                self._failure = None

    # -- replacing

    def _replace_all(self) -> None:
        """SIGHUP: replace all workers, one by one."""
        if self._replacing is not None and not self._replacing.done():
            self._again = True
            return
        self._replacing = asyncio.ensure_future(self._replace_each())

    async def _replace_each(self) -> None:
        self._again = True
        while self._again:
            self._again = False
            for number in range(self._count):
                async with self._changing[number]:
                    if not await self._replace(number):
                        return
        said = fields("workers_replaced")
        logger.info("all %d workers have been replaced", self._count, extra=said)

    async def _replace(self, number: int) -> bool:
        """Start a worker's successor, and end it when that accepts clients."""
        successor = await self._start(number)
        if successor is None:
            said = fields("worker_failed", reason=self._failure)
            logger.error("%s; the workers that run are kept", self._failure, extra=said)
            self._failure = None
            return False
        before = self._workers[number]
        self._workers[number] = successor
        self._others.add(before)
        await before.end(self._stop_timeout)
        self._others.discard(before)
        return True
