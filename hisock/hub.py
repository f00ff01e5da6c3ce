"""All clients of one server on one event loop: joining and leaving, flushing, timers, shutdown."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Literal, TypeVar

from hisock import protocol
from hisock.clients import ClientInfo, Registry
from hisock.connection import Connection
from hisock.events import ServerEvents
from hisock.exceptions import ClientNotFound, ConnectionLost
from hisock.framing import Scratch, fan_out
from hisock.running import Job
from hisock.tasks import Tasks
from hisock.ticks import Tick

logger = logging.getLogger("hisock.server")
T = TypeVar("T")
Announce = Literal["all", "group", "none"]

#: Ends of a connection that are nothing to worry about; the others are logged as warnings.
_ORDINARY_ENDS = frozenset({"left", "eof", "kicked", "closed"})
#: Seconds that closing clients get to take their last frames.
SHUTDOWN_SECONDS = 2.0


class Hub:
    """The clients of one server, and the loop that serves them.

    Everything here runs on the loop's thread, except what says otherwise.

    :param events: the handlers.
    :param announce: who is told of joins and leaves.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        events: ServerEvents,
        *,
        header_len: int,
        max_message_size: int,
        max_connections: int,
        keepalive: bool,
        keepalive_interval: float,
        keepalive_timeout: float,
        hello_timeout: float,
        announce: Announce,
    ) -> None:
        self.events = events
        self.header_len = header_len
        self.max_message_size = max_message_size
        self._max_connections = max_connections
        self._keepalive = keepalive
        self._keepalive_interval = keepalive_interval
        self._keepalive_timeout = keepalive_timeout
        self._hello_timeout = hello_timeout
        self._announce = announce
        self.registry: Registry[Connection] = Registry()
        self.scratch: Scratch = Scratch()
        #: The connections whose outboxes wait to be written.
        self.dirty: list[Connection] = []
        #: How many connections ended, by kind of reason.
        self.ended: Counter[str] = Counter()
        #: How many handlers have failed.
        self.handler_errors = 0
        self._ticks: list[Tick] = []
        self._connections: set[Connection] = set()
        self._awaiting_hello: dict[Connection, float] = {}
        self._hello_timer: asyncio.TimerHandle | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks = Tasks()
        self._thread_id = 0
        self._stop_requested = False
        self._stopping: asyncio.Event | None = None
        self._all_gone: asyncio.Event | None = None
        self._interruption: BaseException | None = None

    # -- the run of the loop

    async def serve(self, listener: socket.socket, ready: Callable[[], None]) -> None:
        """Serve until :meth:`stop`; then say goodbye to everybody.

        :param ready: called when clients are being accepted.
        """
        self.loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._stopping = asyncio.Event()
        if self._stop_requested:
            self._stopping.set()
        accepting = await self.loop.create_server(
            lambda: Connection(self), sock=listener, backlog=socket.SOMAXCONN
        )
        for tick in self._ticks:
            self._run_tick(tick)
        if self._keepalive:
            self._later(self._keepalive_interval, self._send_keepalive)
        try:
            ready()
            await self._stopping.wait()
        finally:
            accepting.close()
            await self._say_goodbye()
        if self._interruption is not None:
            raise self._interruption

    def stop(self) -> None:
        """End :meth:`serve`. May be called from any thread, before it as well."""
        self._stop_requested = True
        stopping = self._stopping
        if stopping is not None:
            try:
                self.loop.call_soon_threadsafe(stopping.set)
            except RuntimeError:  # the loop has ended already
                pass

    def interrupt(self, exc: BaseException) -> None:
        """End :meth:`serve` with an exception that a handler raised to end the program."""
        self._interruption = exc
        self.stop()

    async def _say_goodbye(self) -> None:
        self._all_gone = asyncio.Event()
        for timer in (*self._timers, *([self._hello_timer] if self._hello_timer else ())):
            timer.cancel()
        await self._tasks.cancel(SHUTDOWN_SECONDS)
        self.disconnect_all(force=False)
        for connection in list(self._awaiting_hello):
            connection.abort()
        self._check_gone()
        try:
            await asyncio.wait_for(self._all_gone.wait(), SHUTDOWN_SECONDS)
        except asyncio.TimeoutError:
            for connection in list(self._connections):
                connection.abort()
            # The transports close on the next iteration of the loop.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    def run_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        """Run an async handler; see :meth:`hisock.running.Runner.in_task`."""
        connection: Connection | None = None
        if ordered and job.client is not None:
            connection = job.client._peer
        if connection is None:
            self._tasks.start(coroutine, job, lambda: None, lambda: None)
        else:
            self._tasks.start(coroutine, job, connection.begin, connection.idle)

    def add_tick(self, tick: Tick) -> None:
        """Call a function at a steady rate while the server runs."""
        self._ticks.append(tick)
        if self._stopping is not None:
            self.run(lambda: self._run_tick(tick))

    def _run_tick(self, tick: Tick) -> None:
        def failed(exc: Exception, name: str) -> None:
            self.events.runner.report(exc, name, None)

        self._tasks.add(self.loop.create_task(tick.run(failed)))

    def on_loop_thread(self) -> bool:
        """Whether the caller runs on the loop's thread. From any thread."""
        return threading.get_ident() == self._thread_id

    def run(self, func: Callable[[], T]) -> T:
        """Run a function on the loop and return its result. From any thread.

        Where no loop runs there are no clients, and nobody to run in each other's way.
        """
        if self._stopping is None or self.on_loop_thread():
            return func()
        result: Future[T] = Future()

        def call() -> None:
            try:
                result.set_result(func())
            except BaseException as exc:
                result.set_exception(exc)

        try:
            self.loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop has ended, its clients are gone
            return func()
        return result.result()

    def _later(self, seconds: float, func: Callable[[], None]) -> None:
        def call() -> None:
            self._timers.discard(timer)
            func()

        timer = self.loop.call_later(seconds, call)
        self._timers.add(timer)

    # -- writing

    def schedule_flush(self) -> None:
        """Write what waits at the end of this iteration of the loop. From any thread."""
        if threading.get_ident() == self._thread_id:
            self.loop.call_soon(self._flush)
            return
        try:
            self.loop.call_soon_threadsafe(self._flush)
        except RuntimeError:  # the loop has ended, nobody is left to write to
            self.dirty.clear()

    def mark_dirty(self, connection: Connection) -> None:
        """Have a connection flushed at the end of this iteration of the loop. From any thread."""
        self.dirty.append(connection)
        if len(self.dirty) == 1:
            self.schedule_flush()

    def _flush(self) -> None:
        dirty = self.dirty
        while dirty:
            # Other threads append meanwhile, so the list stays and its front is cut off.
            batch = dirty[:]
            del dirty[: len(batch)]
            for connection in batch:
                connection.flush()

    # -- coming and going

    def connected(self, connection: Connection) -> None:
        self._connections.add(connection)
        if self._max_connections and len(self._connections) > self._max_connections:
            reason = f"the server is full, it takes {self._max_connections} connections"
            self.leave(connection, "full", reason, goodbye=True)
            return
        self._awaiting_hello[connection] = self.loop.time() + self._hello_timeout
        if self._hello_timer is None:
            self._hello_timer = self.loop.call_later(self._hello_timeout, self._check_hellos)

    def _check_hellos(self) -> None:
        """End the connections whose hello is overdue; their deadlines are in order."""
        now = self.loop.time()
        self._hello_timer = None
        for connection, deadline in list(self._awaiting_hello.items()):
            if deadline > now:
                self._hello_timer = self.loop.call_at(deadline, self._check_hellos)
                break
            connection.fail("hello", f"no hello came within {self._hello_timeout:g} seconds")

    def welcome(self, connection: Connection, hello: protocol.Hello) -> None:
        """Let a client in that said hello, or tell it why not."""
        del self._awaiting_hello[connection]
        ours = self.events.codec.name
        if hello.codec != ours:
            self.reject(connection, f"the server's codec is {ours!r}, not {hello.codec!r}")
            return
        if connection.modern:
            connection.outbox.write(protocol.build_server_hello(ours, self.header_len))
        self.join(connection)

    def reject(self, connection: Connection, reason: str) -> None:
        """Send a client away before it has joined."""
        if connection.modern:
            connection.outbox.write(
                protocol.build_reserved(protocol.REJECT, reason.encode(), self.header_len)
            )
        self.leave(connection, "rejected", reason, goodbye=True)

    def join(self, connection: Connection) -> None:
        self.registry.add(connection)
        self._tell(protocol.CLIENT_JOINED, connection.info)
        logger.debug("%s joined", connection.info)
        self.events.fire("join", connection.info)

    def leave(
        self,
        connection: Connection,
        kind: str,
        reason: str,
        *,
        goodbye: bool = False,
        call_func: bool = True,
    ) -> None:
        """End a connection and let the others know.

        :param goodbye: send ``$DISCONN$`` first.
        :param call_func: whether the ``leave`` event fires, if the client had joined.
        """
        if connection.ended:
            return
        self.ended[kind] += 1
        level = logging.INFO if kind in _ORDINARY_ENDS else logging.WARNING
        logger.log(level, "connection of %s ended (%s): %s", connection.info, kind, reason)
        info = connection.info
        self._awaiting_hello.pop(connection, None)
        had_joined = connection in self.registry
        if had_joined:
            self.registry.remove(connection)
        if goodbye:
            connection.outbox.write(
                protocol.build_reserved(protocol.DISCONNECT, header_len=self.header_len)
            )
        connection.finish()
        if had_joined:
            gone = ConnectionLost(f"{info} is no longer connected")
            self.events.waiting.close_source(info.ip, gone)
            self._tell(protocol.CLIENT_LEFT, info)
            if call_func:
                self.events.fire("leave", info)

    def disconnected(self, connection: Connection) -> None:
        """The transport of a connection is closed."""
        self._connections.discard(connection)
        self._check_gone()

    def _check_gone(self) -> None:
        if self._all_gone is not None and not self._connections:
            self._all_gone.set()

    def disconnect(self, connection: Connection, force: bool, call_func: bool) -> None:
        """End a connection because the program says so."""
        reason = "the server disconnected it"
        self.leave(connection, "kicked", reason, goodbye=not force, call_func=call_func)

    def disconnect_all(self, force: bool) -> None:
        """End all connections, without announcing each to all the others that end too."""
        frame = protocol.build_reserved(protocol.DISCONNECT, header_len=self.header_len)
        if not force:
            fan_out(self.registry.everyone, frame)
        for connection in self.registry:
            self.ended["closed"] += 1
            self.registry.remove(connection)
            connection.finish()

    def change_name(self, connection: Connection, name: str | None) -> None:
        old = connection.info
        self.registry.change(connection, ClientInfo(old.addr, name, old.group))
        self.events.fire("name_change", connection.info, old.name, name)

    def change_group(self, connection: Connection, group: str | None) -> None:
        old = connection.info
        self.registry.change(connection, ClientInfo(old.addr, old.name, group))
        self.events.fire("group_change", connection.info, old.group, group)

    def lookup(self, who: str) -> ClientInfo | None:
        """Who has that name or address, if anybody."""
        try:
            return self.registry.find(who).info
        except ClientNotFound:
            return None

    def _tell(self, event: bytes, info: ClientInfo) -> None:
        """Announce that somebody joined or left."""
        if self._announce == "none":
            return
        if self._announce == "all":
            audience = self.registry.everyone
        elif info.group is not None:
            audience = self.registry.group(info.group)
        else:
            return
        data = protocol.encode_client(info.addr, info.name, info.group)
        fan_out(audience, protocol.build_reserved(event, data, self.header_len))

    # -- keepalive

    def _send_keepalive(self) -> None:
        for connection in self.registry:
            connection.alive = False
        frame = protocol.build_reserved(protocol.KEEPALIVE, header_len=self.header_len)
        fan_out(self.registry.everyone, frame)
        self._later(self._keepalive_timeout, self._check_alive)

    def _check_alive(self) -> None:
        for connection in self.registry:
            if not connection.alive and not connection.busy:
                silence = f"no answer to the keepalive within {self._keepalive_timeout:g} seconds"
                connection.fail("keepalive", silence)
        self._later(self._keepalive_interval, self._send_keepalive)
