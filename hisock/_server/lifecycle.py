"""The life of a server: it listens, runs on a loop of its own or of another, and is closed."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

from hisock._core.checks import require, require_number
from hisock._core.error_handlers import ErrorHandler, bind_error_handler
from hisock._core.waiting import Waiting
from hisock._runtime import loops, sockets
from hisock._runtime.forks import forget_in_children
from hisock._runtime.loops import LoopName
from hisock._runtime.sockets import Address, ListeningSocket
from hisock._server.acceptor import Acceptor
from hisock._server.crew import Crew, MakeCrew
from hisock._server.forking import forget_connections
from hisock._server.hub import Hub
from hisock._server.listener import Listener
from hisock.exceptions import ClientDisconnected

#: Bytes of the largest message that :func:`~hisock._runtime.loops.expect_large_messages` prepares
#: for, so that a high ``max_message_size`` alone costs nothing.
_LARGE = 8 * 1024 * 1024
#: Seconds that threaded handlers have to end when the server has ended.
_THREADS_SECONDS = 1.0

Callback = Callable[[], Any] | None


class Lifecycle:
    """Begins, runs and closes one server.

    :param loop_name: which loop to run on, where none runs.
    :param workers: how many processes run the server; ``None`` for this one alone.
    :param make_crew: takes this process's part where there are several.
    :ivar started: whether it has begun to run.
    :ivar closed: whether it is closed, or closing.
    :ivar closed_by_program: whether :meth:`close` was called, and not a signal sent.
    """

    def __init__(
        self,
        hub: Hub,
        waiting: Waiting,
        loop_name: LoopName,
        workers: int | None,
        make_crew: MakeCrew,
    ) -> None:
        if workers is not None:
            require_number("workers", workers)
            require(workers >= 1, "workers", workers)
        require(loop_name in ("auto", "asyncio", "uvloop"), "loop", loop_name)
        self._make_crew = make_crew
        self.workers = workers
        self._crew: Crew | None = None
        self.started = False
        self.closed = self.closed_by_program = False
        self.hub = hub
        self._waiting = waiting
        self._listening: list[ListeningSocket] = []
        self._loop_name = loop_name
        #: Held while ``started`` or ``closed`` changes.
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._serving = asyncio.Event()
        self._task: asyncio.Future[None] | None = None
        forget_in_children(self)

    def set_workers(self, workers: int) -> None:
        """Have so many processes run it.

        :raises RuntimeError: it listens already, for this process only.
        """
        require(workers >= 1, "workers", workers)
        if self._listening and self._crew is None:
            raise RuntimeError(
                f"the server listens at {self._listening[0].addr} already, for this process only; "
                f"make it with HiSockServer(None), or HiSockServer(addr, workers={workers})"
            )
        if self._crew is not None:
            self._crew.count = workers
        self.workers = workers

    def listen(self, addr: Address | list[Address] | None) -> list[Any]:
        """Listen at some addresses; returns each with its real port.

        :param addr: ``None`` listens nowhere.
        :raises RuntimeError: the server listens already, or is closed.
        """
        if addr is None:
            return []
        if self.closed or self.listens:
            state = "is closed" if self.closed else f"listens at {self._first_addr} already"
            raise RuntimeError(f"the server {state}; it cannot listen at {addr!r}")
        if self.workers is None:
            self._listening = sockets.listen(addr)
            return [one.addr for one in self._listening]
        self._crew = self._make_crew(addr, self.workers)
        self._listening = self._crew.listening
        return self._crew.addrs

    def run(
        self, callback: Callback, error_handler: ErrorHandler | None, ready: Callable[[], None]
    ) -> None:
        """Run on a loop of its own until closed.

        :param ready: called when clients are being accepted.
        :raises RuntimeError: the server is running already, or a loop is, in this thread.
        :raises KeyboardInterrupt: SIGINT ended it, in order.
        """
        if self.closed:
            return
        loops.require_none_running("start()", "serve()")
        if not self.listens:
            raise RuntimeError(
                "the server was made with HiSockServer(None) and listens nowhere; "
                "give an address: start(addr)"
            )
        if self._crew is None:
            self._run_here(callback, error_handler, ready)
        else:
            self._crew.run(self, lambda ready: self._run_here(callback, error_handler, ready))

    def _run_here(
        self, callback: Callback, error_handler: ErrorHandler | None, ready: Callable[[], None]
    ) -> None:
        """Serve clients in this process, be it a worker or the only one."""
        if not self._begin(callback, error_handler):
            return
        try:
            loop = loops.new_loop(self._loop_name)
            try:
                interrupted = self._run_on(loop, ready)
            finally:
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()
        finally:
            self.finish()
        if interrupted:
            raise KeyboardInterrupt

    def _run_on(self, loop: asyncio.AbstractEventLoop, ready: Callable[[], None]) -> bool:
        """Run until closed; returns whether Ctrl-C was the cause."""
        serving = loop.create_task(self.hub.serve(self._listeners(), ready))
        with loops.ended_by_signals(self.hub.stop) as signalled:
            try:
                loop.run_until_complete(serving)
            except (SystemExit, KeyboardInterrupt) as exc:
                # Raised by an async handler, or by a second Ctrl-C during the shutdown.
                self.hub.stop(0 if isinstance(exc, KeyboardInterrupt) else None)
                if not serving.done():
                    loop.run_until_complete(serving)
                raise
        return signalled.interrupted

    async def serve(self, callback: Callback, error_handler: ErrorHandler | None) -> None:
        """Run on the loop that runs here, until closed.

        :raises RuntimeError: the server is running already.
        """
        if self._crew is not None:
            raise RuntimeError("workers are processes, which start() runs; serve() has one loop")
        if not self._begin(callback, error_handler):
            return
        try:
            await self.hub.serve(self._listeners(), self._serving.set)
        finally:
            self._serving.set()
            self.finish()

    async def enter(self) -> None:
        """Begin :meth:`serve` in a task, and wait until clients are being accepted.

        :raises RuntimeError: the server is running already, or closed.
        """
        if self.closed or self.started:
            raise RuntimeError(f"the server is {'closed' if self.closed else 'running already'}")
        self._task = asyncio.ensure_future(self.serve(None, None))
        await self._serving.wait()
        if self._task.done():
            await self._task

    async def leave(self) -> None:
        """Wait for the end of what :meth:`enter` began."""
        if self._task is not None:
            await self._task

    def _begin(self, callback: Callback, error_handler: ErrorHandler | None) -> bool:
        """Prepare to run; returns ``False`` if the server is closed already."""
        bound = None if error_handler is None else bind_error_handler(error_handler)
        if not self.claim():
            return False
        if bound is not None:
            self.hub.runner.error_handler = bound
        self.hub.events.callback = callback
        self.hub.events.refresh()
        loops.raise_descriptor_limit()
        loops.expect_large_messages(min(self.hub.options.max_message_size, _LARGE))
        return True

    def claim(self) -> bool:
        """Become the one who runs the server; returns ``False`` if it is closed already.

        :raises RuntimeError: the server is running already.
        """
        with self._lock:
            if self.closed:
                return False
            if self.started:
                raise RuntimeError("the server is running already")
            self.started = True
            return True

    @property
    def listens(self) -> bool:
        """Whether it has an address."""
        return bool(self._listening) or self._crew is not None

    @property
    def _first_addr(self) -> Any:
        return self._listening[0].addr if self._crew is None else self._crew.addrs[0]

    @property
    def sockets(self) -> list[socket.socket]:
        """The listening sockets."""
        return [one.sock for one in self._listening]

    def _listeners(self) -> list[Listener]:
        return [Acceptor(one) for one in self._listening]

    def close(self, timeout: float | None, final: bool = False) -> None:
        """Close it, and wait for the end unless that waits for the caller. From any thread."""
        self.closed_by_program = True
        if not self._set_closed():
            self.finish()
            return
        if final:
            self.hub.shutdown.final = True
        self.hub.stop(timeout)
        if self._crew is not None:
            self._crew.stop(timeout)
        if self.hub.shutdown.at_once:
            self._waiting.close(ClientDisconnected("the server is closed"))
        if not self.hub.thread.is_current() and not self.in_handler_thread():
            self._ended.wait()

    def in_handler_thread(self) -> bool:
        """Whether the caller is a threaded handler, which the end waits for."""
        return threading.current_thread() in self.hub.workers

    def _set_closed(self) -> bool:
        """Prevent a later start; returns whether the server has begun to run."""
        with self._lock:
            self.closed = True
            self.hub.runner.closing = True
            return self.started

    def finish(self) -> None:
        """Free what the server has; it has ended."""
        self._set_closed()
        for one in self._listening:
            one.close()
        if self._crew is not None:
            self._crew.close()
        self._waiting.close(ClientDisconnected("the server is closed"))
        self.hub.workers.close(timeout=_THREADS_SECONDS)
        self._ended.set()

    def forget(self) -> None:
        """Become a closed server in a forked child, without the parent's locks and threads."""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ended.set()
        self.closed, self.started = True, False
        for one in self._listening:
            sockets.disown(one.sock)
        self._listening = []  # closing them would remove the parent's Unix sockets
        forget_connections(self.hub)
