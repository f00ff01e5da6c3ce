"""All clients of one server on one event loop: joining and leaving, from the start to the end."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections import Counter
from collections.abc import Callable

from hisock._core import protocol
from hisock._core.addresses import HIDDEN, client_addr
from hisock._core.client_info import ClientInfo, title_of
from hisock._core.reporting import LogLimit, one_line
from hisock._core.server_events import ServerEvents
from hisock._runtime.loop_thread import LoopThread
from hisock._runtime.watchdog import Watchdog
from hisock._server.admission import Admission
from hisock._server.announcing import Announcements
from hisock._server.audience import Broadcast
from hisock._server.backpressure import Backpressure
from hisock._server.connection import RECEIVE_SIZE, Connection
from hisock._server.deciding import Deciding
from hisock._server.flushing import Flushing
from hisock._server.greeting import Greeter, make_greeter
from hisock._server.keepalive import Keepalive
from hisock._server.limits import Limits
from hisock._server.listener import Listener
from hisock._server.options import ServerOptions
from hisock._server.registry import Registry
from hisock._server.renaming import Renaming
from hisock._server.runner import HandlerRunner
from hisock._server.sessions import Sessions
from hisock._server.shutdown import Shutdown
from hisock._server.stats import Figures, Lag, ServerStats, memory_by_kind
from hisock._server.ticks import Ticks
from hisock.exceptions import ConnectionLost
from hisock.framing import Scratch

logger = logging.getLogger("hisock.server")

#: Ends of a connection that are nothing to worry about; the others are logged as warnings.
_ORDINARY_ENDS = frozenset({"left", "eof", "kicked", "closed", "replaced", "health"})


class Hub:
    """The clients of one server, and the loop that serves them.

    Everything here runs on the loop's thread, except what says otherwise.

    :param events: the handlers.
    :param runner: what runs them.
    :param thread: where the loop runs.
    :param sender: what sends to the clients with ``send_client``.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        events: ServerEvents,
        runner: HandlerRunner,
        thread: LoopThread,
        options: ServerOptions,
        sender: object,
    ) -> None:
        self.sender = sender
        self.events = events
        self.runner = runner
        self.tasks = runner.tasks
        self.workers = runner.workers
        self.memory = runner.memory
        self.thread = thread
        #: Held for a few instructions by threads that change what belongs to a connection.
        self.lock = threading.Lock()
        self.flushing = Flushing(thread)
        self.pressure = Backpressure(self)
        # Bound once: every connection keeps them.
        self.dispatch = events.dispatch
        self.schedule = self.flushing.schedule
        self.overfull = self.pressure.outbox_full
        runner.free_memory = self.pressure.free_memory
        self.options = options
        self.header_len = options.header_len
        self.registry: Registry[Connection] = Registry()
        self.broadcast = Broadcast(self.registry, self.header_len)
        self.scratch: Scratch = Scratch(RECEIVE_SIZE)
        self.limits = Limits(self)
        self.announcements = Announcements(self)
        self.deciding = Deciding(self)
        self.door = Admission(self)
        self.renaming = Renaming(self)
        self.ticks = Ticks(self)
        # Figures: see ServerStats.
        self.ended: Counter[str] = Counter()
        self.joins = 0
        self.sessions = Sessions(options.session)
        self.lag = Lag(thread)
        self.watchdog = Watchdog(thread)
        #: What went through the connections that are gone.
        self.gone = Figures()
        #: Clients that come back after losing a connection, by their secrets.
        self._resumable: dict[str | None, Connection] = {}
        self._log_limit = LogLimit()
        self._unix_clients = 0
        #: Those that have joined, are being admitted, or have been told goodbye just now.
        self.connections: set[Connection] = set()
        self._listeners: list[Listener] = []
        self._stopping: asyncio.Event | None = None
        self._interruption: BaseException | None = None
        self.closing = Shutdown(self)
        #: Listens to how connections begin, where some may be WebSockets.
        self.greeter: Greeter | None = None
        if options.websocket is not None:
            self.greeter = make_greeter(options.websocket, lambda: self.closing.asked)

    # -- the run of the loop

    async def serve(self, listeners: list[Listener], ready: Callable[[], None]) -> None:
        """Serve until :meth:`stop`; then say goodbye to everybody.

        :param listeners: bring the clients.
        :param ready: called when clients are being accepted.
        """
        self.thread.begin()
        self.loop = self.thread.loop
        self._stopping = asyncio.Event()
        if self.closing.asked:
            self._stopping.set()
        self._listeners[:0] = listeners
        for listener in self._listeners:
            listener.start(self)
        self.ticks.start()
        if self.options.keepalive:
            Keepalive(self).start()
        self.lag.watch(self.loop.time())
        self.watchdog.start()
        self._tell_of_unhandled()
        try:
            ready()
            await self._stopping.wait()
        finally:
            self.closing.ask(None)
            try:
                for listener in self._listeners:
                    await listener.close()
                await self.closing.run()
            finally:
                self.watchdog.stop()
                self.thread.end()
        if self._interruption is not None:
            raise self._interruption

    def stop(self, timeout: float | None = None) -> None:
        """End :meth:`serve`. May be called from any thread, before it as well.

        :param timeout: see :meth:`hisock._server.shutdown.Shutdown.ask`.
        """
        self.closing.ask(timeout)
        stopping = self._stopping
        if stopping is not None:
            self.thread.post(stopping.set)
            self.thread.post(self.closing.look)

    def interrupt(self, exc: BaseException) -> None:
        """End :meth:`serve` with an exception that a handler raised to end the program."""
        self._interruption = exc
        self.stop()

    @functools.cached_property
    def question(self) -> bytes:
        """The frame that asks a client whether it is there."""
        return protocol.build_reserved(protocol.KEEPALIVE, header_len=self.header_len)

    # -- coming and going

    def listen(self, listener: Listener) -> None:
        """Take the clients that one more listener brings, from now on or from the start on."""
        self._listeners.append(listener)
        if self.thread.running:
            listener.start(self)

    def attach(self, transport: asyncio.Transport, addr: tuple[str, int]) -> Connection:
        """Take a client that comes over a transport.

        :param transport: anything that does what an asyncio transport does; the connection becomes
            its protocol, an :class:`asyncio.BufferedProtocol`.
        :param addr: the client's address.
        """
        connection = Connection(self, addr)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        return connection

    def next_unix_address(self) -> tuple[str, int]:
        """An address for a client on a Unix socket; those have none, and are numbered."""
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
            interval = self.options.keepalive_interval if self.options.keepalive else None
            hello = protocol.build_server_hello(codec, self.header_len, interval)
            connection.writer.write_control(hello)
        self.joins += 1
        self.registry.add(connection)
        connection.inbox.admit()
        if self.broadcast.backplane is not None:
            self.broadcast.backplane.admitted(connection.info)
        self.announcements.tell(protocol.CLIENT_JOINED, connection)
        logger.debug("%s joined", connection.info.shown())
        self.events.fire("join", connection)
        if self.events.callback is not None:
            self.events.call_back("join")

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
        connection.explain(kind, reason)
        self.door.forget(connection)
        self.limits.end(connection)
        had_joined = connection in self.registry
        if had_joined:
            self._remove(connection)
        if self._resumable.get(connection.resume) is connection:
            del self._resumable[connection.resume]
        if goodbye:
            connection.writer.write_last(
                protocol.build_reserved(protocol.DISCONNECT, header_len=self.header_len)
            )
        if at_once:
            connection.abort()
        else:
            connection.finish()
        self.pressure.gone(connection, kind)
        if had_joined:
            gone = ConnectionLost(f"{title_of(info)} is no longer connected")
            self.events.waiting.close_source(info.ip, gone)
            self.announcements.tell(protocol.CLIENT_LEFT, connection)
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
        self.limits.end(connection)
        self.announcements.forget(connection)
        self.door.go(connection)
        self.gone = Figures.sum((self.gone, connection.figures()))
        if self.closing.begun and not self.connections:
            self.closing.look()

    def disconnect(self, connection: Connection, force: bool, call_func: bool) -> None:
        """End a connection because the program says so."""
        reason = "the server disconnected it"
        self.leave(connection, "kicked", reason, goodbye=not force, call_func=call_func)

    def disconnect_all(self, force: bool) -> None:
        """End all connections, without announcing each to all the others that end too."""
        frame = protocol.build_reserved(protocol.DISCONNECT, header_len=self.header_len)
        for connection in self._expel_all(None if force else lambda connection: frame):
            connection.explain("kicked", "the server disconnected it")
            connection.finish()
            gone = ConnectionLost(f"{connection.info} is no longer connected")
            self.events.waiting.close_source(connection.info.ip, gone)

    def say_goodbye(self) -> None:
        """Tell all connections goodbye, behind what waits for them; others end them."""
        for connection in self._expel_all(self.closing.goodbye):
            connection.explain("closed", "the server is closing")
            connection.finish_writing()
        for connection in list(self.connections):
            if connection.lost:
                # A handler that runs still, and cannot be cancelled, has kept it here.
                self.disconnected(connection)

    def _expel_all(self, goodbye: Callable[[Connection], bytes] | None) -> list[Connection]:
        """Take all clients from the registry, and send each a last frame, if there is one."""
        self._resumable.clear()
        expelled = list(self.registry)
        for connection in expelled:
            if goodbye is not None:
                connection.writer.write_last(goodbye(connection))
            self.ended["closed"] += 1
            self._remove(connection)
        return expelled

    def _remove(self, connection: Connection) -> None:
        self.registry.remove(connection)
        if self.broadcast.backplane is not None:
            self.broadcast.backplane.left(connection.info)

    def change(self, connection: Connection, info: ClientInfo) -> None:
        """Give a client another name or group."""
        old = connection.info
        self.registry.change(connection, info)
        if self.broadcast.backplane is not None:
            self.broadcast.backplane.changed(old, info)

    def describe(self, connection: Connection) -> bytes:
        """What other clients are told of one."""
        info = connection.info
        addr = (HIDDEN, connection.joined) if self.options.hide_addresses else info.addr
        return protocol.encode_client(addr, info.name, info.group)

    def lookup(self, who: str) -> bytes | None:
        """What other clients are told of the one with that name or address, if there is one."""
        if self.options.hide_addresses:
            addr = client_addr(who)
            if addr is not None and addr[0] != HIDDEN:
                return None  # whether somebody has that address is not told either
        found = self.registry.lookup(who)
        return None if found is None else self.describe(found)

    def _tell_of_unhandled(self) -> None:
        """Tell of commands that nobody took within a second, every second."""
        self.events.note_unhandled()
        self.thread.later(1.0, self._tell_of_unhandled)

    def stats(self) -> ServerStats:
        """Figures as of now. From any thread."""
        connections = list(self.connections)
        figures = Figures.sum((self.gone, *(each.figures() for each in connections)))
        return ServerStats(
            clients=len(self.registry),
            connections=len(connections),
            joins=self.joins,
            messages_in=figures.messages_in,
            messages_out=figures.messages_out,
            bytes_in=figures.bytes_in,
            bytes_out=figures.bytes_out,
            queued_bytes=sum(connection.writer.backlog() for connection in connections),
            buffered_bytes=self.memory.size,
            memory=memory_by_kind(self.memory, [connection.writer for connection in connections]),
            dropped=self.broadcast.dropped + figures.dropped,
            ended=dict(self.ended),
            handler_errors=self.runner.errors,
            unhandled=dict(self.events.unhandled.counts),
            loop_lag=self.lag.seconds,
            slow=dict(self.watchdog.slow),
            ticks=self.ticks.stats(),
        )
