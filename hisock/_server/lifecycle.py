"""The life of a server: it listens, runs on a loop of its own or of another, and is closed."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

from hisock._core.error_handlers import ErrorHandler, bind_error_handler
from hisock._core.waiting import Waiting
from hisock._runtime import loops, sockets
from hisock._runtime.forks import forget_in_children
from hisock._runtime.loops import LoopName
from hisock._runtime.sockets import Address, ListeningSocket
from hisock._server.acceptor import Acceptor
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
    :ivar started: whether it has begun to run.
    :ivar closed: whether it is closed, or closing.
    """

    def __init__(self, hub: Hub, waiting: Waiting, loop_name: LoopName) -> None:
        self.started = False
        self.closed = False
        self._hub = hub
        self._waiting = waiting
        self._listening: list[ListeningSocket] = []
        self._loop_name = loop_name
        #: Held while ``started`` or ``closed`` changes.
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._serving = asyncio.Event()
        self._task: asyncio.Future[None] | None = None
        forget_in_children(self)

    def listen(self, addr: Address | list[Address] | None) -> list[Any]:
        """Listen at some addresses; returns each with its real port.

        :param addr: ``None`` listens nowhere.
        :raises RuntimeError: the server listens already, or is closed.
        """
        if addr is None:
            return []
        if self.closed or self._listening:
            where = "is closed" if self.closed else f"listens at {self._listening[0].addr} already"
            raise RuntimeError(f"the server {where}; it cannot listen at {addr!r}")
        self._listening = sockets.listen(addr)
        return [one.addr for one in self._listening]

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
        if not self._listening:
            raise RuntimeError(
                "the server was made with HiSockServer(None) and listens nowhere; "
                "give an address: start(addr)"
            )
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
            self._finish()
        if interrupted:
            raise KeyboardInterrupt

    def _run_on(self, loop: asyncio.AbstractEventLoop, ready: Callable[[], None]) -> bool:
        """Run until closed; returns whether Ctrl-C was the cause."""
        serving = loop.create_task(self._hub.serve(self._listeners(), ready))
        with loops.ended_by_signals(self._hub.stop) as signalled:
            try:
                loop.run_until_complete(serving)
            except (SystemExit, KeyboardInterrupt) as exc:
                # Raised by an async handler, or by a second Ctrl-C during the shutdown.
                self._hub.stop(0 if isinstance(exc, KeyboardInterrupt) else None)
                if not serving.done():
                    loop.run_until_complete(serving)
                raise
        return signalled.interrupted

    async def serve(self, callback: Callback, error_handler: ErrorHandler | None) -> None:
        """Run on the loop that runs here, until closed.

        :raises RuntimeError: the server is running already.
        """
        if not self._begin(callback, error_handler):
            return
        try:
            await self._hub.serve(self._listeners(), self._serving.set)
        finally:
            self._serving.set()
            self._finish()

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
        with self._lock:
            if self.closed:
                return False
            if self.started:
                raise RuntimeError("the server is running already")
            self.started = True
        if bound is not None:
            self._hub.runner.error_handler = bound
        self._hub.events.callback = callback
        self._hub.events.refresh()
        loops.raise_descriptor_limit()
        loops.expect_large_messages(min(self._hub.options.max_message_size, _LARGE))
        return True

    @property
    def sockets(self) -> list[socket.socket]:
        """The listening sockets."""
        return [one.sock for one in self._listening]

    def _listeners(self) -> list[Listener]:
        return [Acceptor(one) for one in self._listening]

    def close(self, timeout: float | None, final: bool = False) -> None:
        """Close it, and wait for the end unless that waits for the caller. From any thread."""
        if not self._set_closed():
            self._finish()
            return
        if final:
            self._hub.shutdown.final = True
        self._hub.stop(timeout)
        if self._hub.shutdown.at_once:
            self._waiting.close(ClientDisconnected("the server is closed"))
        if not self._hub.thread.is_current() and not self.in_handler_thread():
            self._ended.wait()

    def in_handler_thread(self) -> bool:
        """Whether the caller is a threaded handler, which the end waits for."""
        return threading.current_thread() in self._hub.workers

    def _set_closed(self) -> bool:
        """Prevent a later start; returns whether the server has begun to run."""
        with self._lock:
            self.closed = True
            self._hub.runner.closing = True
            return self.started

    def _finish(self) -> None:
        self._set_closed()
        for one in self._listening:
            one.close()
        self._waiting.close(ClientDisconnected("the server is closed"))
        self._hub.workers.close(timeout=_THREADS_SECONDS)
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
        forget_connections(self._hub)
