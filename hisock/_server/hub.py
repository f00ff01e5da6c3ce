"""All clients of one server on one event loop: joining and leaving, flushing, timers, shutdown."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from threading import get_ident
from typing import Any, TypeVar

from hisock._core import protocol
from hisock._core.client_info import ClientInfo
from hisock._core.events import ServerEvents
from hisock._core.jobs import Job
from hisock._core.reporting import LogLimit, one_line
from hisock._runtime.tasks import Tasks
from hisock._runtime.threads import Threads
from hisock._server.acceptor import Acceptor
from hisock._server.admission import Admission
from hisock._server.backpressure import Backpressure
from hisock._server.connection import LINGER_SECONDS, RECEIVE_SIZE, Connection, Head, ReadOn
from hisock._server.keepalive import Keepalive
from hisock._server.options import ServerOptions
from hisock._server.registry import Registry
from hisock._server.sessions import Sessions
from hisock._server.shutdown import Shutdown
from hisock._server.stats import Figures, ServerStats, TickStats
from hisock._server.ticks import Tick
from hisock.exceptions import ClientNotFound, ConnectionLost
from hisock.framing import Scratch, fan_out

logger = logging.getLogger("hisock.server")
T = TypeVar("T")

#: Ends of a connection that are nothing to worry about; the others are logged as warnings.
_ORDINARY_ENDS = frozenset({"left", "eof", "kicked", "closed", "replaced"})
#: Connections written to in one iteration of the loop. While more of them wait in line, the loop
#: reads in between, and what comes of that goes along with what waits: the worst latency of a busy
#: server is one round of the line, not that and one of reading nothing.
_MOST_WRITES = 64


class Hub:
    """The clients of one server, and the loop that serves them.

    Everything here runs on the loop's thread, except what says otherwise.

    :param events: the handlers.
    :param sender: what sends to the clients with ``send_client``.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, events: ServerEvents, options: ServerOptions, sender: object) -> None:
        self.sender = sender
        self.events = events
        # Bound once: every connection keeps them.
        self.dispatch = events.dispatch
        self.schedule = self.schedule_flush
        self.pressure = Backpressure(self)
        self.overfull = self.pressure.outbox_full
        self.options = options
        self.header_len = options.header_len
        self.registry: Registry[Connection] = Registry()
        self.scratch: Scratch = Scratch(RECEIVE_SIZE)
        #: The line of those whose outboxes wait to be written.
        self.dirty: list[Connection | Head | ReadOn] = []
        self.door = Admission(self)
        # Figures: see ServerStats.
        self.ended: Counter[str] = Counter()
        self.joins = 0
        self.sessions = Sessions(options.session)
        #: Clients that come back after losing a connection, by their secrets.
        self._resumable: dict[str | None, Connection] = {}
        #: What went through the connections that are gone.
        self._gone = Figures()
        self.buffered = 0
        self.dropped = 0
        self.handler_errors = 0
        self._loop_lag = 0.0
        self._log_limit = LogLimit()
        self._unix_clients = 0
        self._ticks: list[Tick] = []
        self._ticking: list[tuple[Tick, asyncio.Task[None]]] = []
        #: Those who have joined, stand in the door, or have been told goodbye just now.
        self.connections: set[Connection] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        #: Async handlers, and ticks.
        self.tasks = Tasks()
        #: Threads for threaded handlers.
        self.workers = Threads("hisock-server", self._go_on)
        #: Whether :meth:`serve` is running.
        self.serving = False
        self._thread_id = 0
        self._stopping: asyncio.Event | None = None
        self._interruption: BaseException | None = None
        self.closing = Shutdown(self)

    # -- the run of the loop

    async def serve(
        self,
        listeners: list[socket.socket],
        ready: Callable[[], None],
        stop_listening: Callable[[], None],
    ) -> None:
        """Serve until :meth:`stop`; then say goodbye to everybody.

        :param ready: called when clients are being accepted.
        :param stop_listening: called when no more are; closes the listeners.
        """
        self.loop = asyncio.get_running_loop()
        self._thread_id = get_ident()
        self.serving = True
        self._stopping = asyncio.Event()
        if self.closing.asked:
            self._stopping.set()
        acceptors = [Acceptor(self, listener) for listener in listeners]
        for tick in self._ticks:
            self._run_tick(tick)
        if self.options.keepalive:
            Keepalive(self).start()
        self._watch_lag(self.loop.time())
        try:
            ready()
            await self._stopping.wait()
        finally:
            self.closing.ask(None)
            try:
                for acceptor in acceptors:
                    await acceptor.close()
                stop_listening()
                await self.closing.run()
            finally:
                for timer in self._timers:
                    timer.cancel()
                self.serving = False
        if self._interruption is not None:
            raise self._interruption

    def stop(self, timeout: float | None = None) -> None:
        """End :meth:`serve`. May be called from any thread, before it as well.

        :param timeout: see :meth:`hisock._server.shutdown.Shutdown.ask`.
        """
        self.closing.ask(timeout)
        stopping = self._stopping
        if stopping is not None:
            self.post(stopping.set)
            self.post(self.closing.look)

    def interrupt(self, exc: BaseException) -> None:
        """End :meth:`serve` with an exception that a handler raised to end the program."""
        self._interruption = exc
        self.stop()

    def say_goodbye(self) -> None:
        """End all connections; what waits for them is written first, ``$DISCONN$`` last."""
        self.disconnect_all(force=False, linger=None)
        for connection in list(self.connections):
            if connection.lost:
                # A handler that runs still, and cannot be cancelled, has kept it here.
                self.disconnected(connection)

    def run_task(self, coroutine: Coroutine[Any, Any, Any], job: Job, ordered: bool) -> None:
        """Run an async handler; see :meth:`hisock._core.jobs.Runner.in_task`."""
        connection: Connection | None = job.connection
        if connection is None or not ordered:
            self.tasks.start(coroutine, job, lambda: None, lambda: None)
        else:
            self.tasks.start(coroutine, job, connection.begin, connection.idle)

    def run_in_thread(self, job: Job, size: int, func: Callable[..., Any], *args: Any) -> None:
        """Run a threaded handler; see :meth:`hisock._core.jobs.Runner.in_thread`.

        Where too much of one client waits for a thread, what it sends next waits as it does for an
        async handler, in order and within the same bounds.
        """
        connection: Connection | None = job.connection
        if self.workers.submit_for(connection, size, func, *args) and connection is not None:
            connection.begin()

    def _go_on(self, connection: Connection) -> None:
        self.post(connection.idle)

    def add_tick(self, tick: Tick) -> None:
        """Call a function at a steady rate while the server runs."""
        self._ticks.append(tick)
        if self.serving and not self.closing.begun:
            self.run(lambda: self._run_tick(tick))

    def _run_tick(self, tick: Tick) -> None:
        def failed(exc: Exception, name: str) -> None:
            self.events.runner.report(exc, name, None)

        task = self.loop.create_task(tick.run(failed))
        self._ticking.append((tick, task))
        self.tasks.add(task)

    def end_ticks(self) -> None:
        """Let no tick begin any more; one that runs may end, as handlers may."""
        for tick, task in self._ticking:
            if not tick.end():
                task.cancel()

    def on_loop_thread(self) -> bool:
        """Whether the caller runs on the loop's thread. From any thread."""
        return get_ident() == self._thread_id

    def run(self, func: Callable[[], T]) -> T:
        """Run a function on the loop and return its result. From any thread.

        Where no loop runs there are no clients, and nobody to run in each other's way.
        """
        if not self.serving or self.on_loop_thread():
            return func()
        result: Future[T] = Future()

        def call() -> None:
            try:
                result.set_result(func())
            except BaseException as exc:
                result.set_exception(exc)

        if not self.post(call):  # the clients are gone
            return func()
        return result.result()

    def post(self, func: Callable[..., object]) -> bool:
        """Call a function on the loop, soon; ``False`` if that has ended. From any thread."""
        try:
            self.loop.call_soon_threadsafe(func)
        except RuntimeError:
            return False
        return True

    def later(self, seconds: float, func: Callable[[], None]) -> None:
        """Call a function in so many seconds, unless the server ends before."""

        def call() -> None:
            self._timers.discard(timer)
            func()

        timer = self.loop.call_later(seconds, call)
        self._timers.add(timer)

    # -- writing

    def schedule_flush(self) -> None:
        """Write what waits when this iteration of the loop has read. From any thread."""
        if get_ident() == self._thread_id:
            self.flush_later()
        elif not self.post(self._flush):  # nobody is left to write to
            self.dirty.clear()

    def flush_later(self) -> None:
        """Write what waits when this iteration of the loop has read."""
        self.loop.call_soon(self._flush)

    def mark_dirty(self, connection: Connection) -> None:
        """Have a connection flushed when this iteration of the loop has read. From any thread."""
        self.dirty.append(connection)
        # Not "the length is 1": another thread may append between the two steps.
        if self.dirty[:1] == [connection]:
            self.schedule_flush()

    def _flush(self) -> None:
        # Other threads append meanwhile, so the list stays and its front is cut off.
        dirty = self.dirty
        batch = dirty[:_MOST_WRITES]
        del dirty[: len(batch)]
        for connection in batch:
            connection.flush()
        if dirty:
            self.flush_later()

    # -- coming and going

    def address_of(self, transport: asyncio.BaseTransport) -> tuple[str, int]:
        """The address of a client; those on Unix sockets have none, and are numbered."""
        peername = transport.get_extra_info("peername")
        if isinstance(peername, tuple):
            return peername[0], peername[1]
        self._unix_clients += 1
        return "unix", self._unix_clients

    def connected(self, connection: Connection) -> None:
        """A connection has been accepted."""
        self.connections.add(connection)
        self.door.come(connection)

    def admit(self, connection: Connection) -> None:
        """Let a client join."""
        if connection.resume is not None:
            self._replace(connection, connection.resume)
        name = connection.info.name
        if self.options.unique_names and self.registry.has_name(name):
            self.door.reject(connection, f"the name {name!r} is taken")
            return
        if connection.features is not None:
            codec = self.events.codec.name
            connection.outbox.write(protocol.build_server_hello(codec, self.header_len))
        self.joins += 1
        self.registry.add(connection)
        self._tell(protocol.CLIENT_JOINED, connection)
        logger.debug("%s joined", connection.info.shown())
        self.events.fire("join", connection)

    def _replace(self, connection: Connection, secret: str) -> None:
        """A client has come back, perhaps before anybody noticed that it had gone."""
        ghost = self._resumable.get(secret)
        if ghost is not None:
            self.leave(ghost, "replaced", "its client came back", at_once=True)
        self._resumable[secret] = connection

    def leave(
        self,
        connection: Connection,
        kind: str,
        reason: str,
        *,
        goodbye: bool = False,
        call_func: bool = True,
        at_once: bool = False,
    ) -> None:
        """End a connection and let the others know.

        :param kind: why, in a word; see :class:`hisock._server.stats.ServerStats`.
        :param goodbye: send ``$DISCONN$`` first.
        :param at_once: do not wait until it has taken what waits for it.
        :param call_func: whether the ``leave`` event fires, if the client had joined.
        """
        if connection.ended:
            return
        info = connection.info
        self.note_end(kind, reason, info.shown())
        self.door.forget(connection)
        had_joined = connection in self.registry
        if had_joined:
            self.registry.remove(connection)
        if self._resumable.get(connection.resume) is connection:
            del self._resumable[connection.resume]
        if goodbye:
            connection.say_goodbye(
                protocol.build_reserved(protocol.DISCONNECT, header_len=self.header_len)
            )
        if at_once:
            connection.abort()
        else:
            connection.finish()
        if had_joined:
            gone = ConnectionLost(f"{info} is no longer connected")
            self.events.waiting.close_source(info.ip, gone)
            self._tell(protocol.CLIENT_LEFT, connection)
            if call_func:
                self.events.fire("leave", connection)
            if call_func and self.events.runs_elsewhere("leave"):
                return
            # Its session could be asked for until now.
            object.__setattr__(info, "_outbox", None)

    def note_end(self, kind: str, reason: str, who: object) -> None:
        """Count and log the end of a connection."""
        self.ended[kind] += 1
        level = logging.INFO if kind in _ORDINARY_ENDS else logging.WARNING
        if self._log_limit.permits(self.loop.time()):
            if self._log_limit.withheld:
                logger.warning(
                    "%d more connections ended, which were not logged one by one",
                    self._log_limit.reset(),
                )
            logger.log(level, "connection of %s ended (%s): %s", who, kind, one_line(reason))

    def disconnected(self, connection: Connection) -> None:
        """The transport of a connection is closed."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self.door.go(connection)
        self._gone = Figures.sum((self._gone, connection.figures()))
        if self.closing.begun and not self.connections:
            self.closing.look()

    def disconnect(self, connection: Connection, force: bool, call_func: bool) -> None:
        """End a connection because the program says so."""
        reason = "the server disconnected it"
        self.leave(connection, "kicked", reason, goodbye=not force, call_func=call_func)

    def disconnect_all(self, force: bool, linger: float | None = LINGER_SECONDS) -> None:
        """End all connections, without announcing each to all the others that end too.

        :param linger: see :meth:`hisock._server.connection.Connection.finish`.
        """
        frame = protocol.build_reserved(protocol.DISCONNECT, header_len=self.header_len)
        self._resumable.clear()
        for connection in self.registry:
            if not force:
                connection.say_goodbye(frame)
            self.ended["closed"] += 1
            self.registry.remove(connection)
            connection.finish(linger)

    def change_name(self, connection: Connection, name: str | None) -> None:
        old = connection.info
        if name != old.name and self.options.unique_names and self.registry.has_name(name):
            if self._log_limit.permits(self.loop.time()):
                logger.warning("%s stays, the name it wants is taken", old.shown())
            return
        self.registry.change(connection, ClientInfo(old.addr, name, old.group))
        self.events.fire("name_change", connection, old.name, name)

    def change_group(self, connection: Connection, group: str | None) -> None:
        old = connection.info
        self.registry.change(connection, ClientInfo(old.addr, old.name, group))
        self.events.fire("group_change", connection, old.group, group)

    def describe(self, connection: Connection) -> bytes:
        """What other clients are told of one."""
        info = connection.info
        addr = ("hidden", connection.joined) if self.options.hide_addresses else info.addr
        return protocol.encode_client(addr, info.name, info.group)

    def lookup(self, who: str) -> bytes | None:
        """What is told of the client with that name or address, if there is one."""
        try:
            return self.describe(self.registry.find(who))
        except ClientNotFound:
            return None

    def _tell(self, event: bytes, connection: Connection) -> None:
        """Announce that somebody joined or left."""
        if self.options.announce == "none":
            return
        if self.options.announce == "all":
            audience = self.registry.everyone
        elif connection.info.group is not None:
            audience = self.registry.group(connection.info.group)
        else:
            return
        if audience:
            data = self.describe(connection)
            fan_out(audience, protocol.build_reserved(event, data, self.header_len))

    # -- figures

    def _watch_lag(self, due: float) -> None:
        self._loop_lag = max(0.0, self.loop.time() - due)
        following = self.loop.time() + 1.0
        self.later(1.0, lambda: self._watch_lag(following))

    def stats(self) -> ServerStats:
        """Figures as of now. From any thread."""
        connections = list(self.connections)
        ticks = {
            tick.name: TickStats(tick.interval, tick.late, tick.latest, tick.skipped)
            for tick in self._ticks
        }
        figures = Figures.sum((self._gone, *(each.figures() for each in connections)))
        return ServerStats(
            clients=len(self.registry),
            connections=len(connections),
            joins=self.joins,
            messages_in=figures.messages_in,
            messages_out=figures.messages_out,
            bytes_in=figures.bytes_in,
            bytes_out=figures.bytes_out,
            queued_bytes=sum(connection.backlog() for connection in connections),
            buffered_bytes=self.buffered,
            dropped=self.dropped + figures.dropped,
            ended=dict(self.ended),
            handler_errors=self.handler_errors,
            loop_lag=self._loop_lag,
            ticks=ticks,
        )
