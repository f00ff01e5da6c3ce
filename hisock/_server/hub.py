"""The hub: all clients of one server on one event loop, from start to shutdown."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable
from operator import add

from hisock._core import protocol
from hisock._core.addresses import HIDDEN, client_addr
from hisock._core.client_info import ClientInfo, title_of
from hisock._core.log_fields import fields
from hisock._core.reporting import LogLimit, one_line
from hisock._core.server_events import ServerEvents
from hisock._runtime.loop_thread import LoopThread
from hisock._runtime.watchdog import Watchdog
from hisock._server.admission import Admission
from hisock._server.announcing import Announcements
from hisock._server.audience import Broadcast
from hisock._server.backpressure import Backpressure
from hisock._server.connection import RECEIVE_SIZE, Connection
from hisock._server.constant_frames import ConstantFrames
from hisock._server.decisions import Decisions
from hisock._server.flushing import Flushing
from hisock._server.greeting import Greeter, make_greeter
from hisock._server.keepalive import Keepalive
from hisock._server.limits import Limits
from hisock._server.listener import Listener
from hisock._server.options import ServerOptions
from hisock._server.receipts import Receipts
from hisock._server.registry import Registry
from hisock._server.renaming import Renaming
from hisock._server.resuming import Resumable
from hisock._server.runner import HandlerRunner
from hisock._server.sessions import Sessions
from hisock._server.shutdown import Shutdown
from hisock._server.stats import Figures, Lag, ServerStats, stats_of
from hisock._server.ticks import Ticks
from hisock.exceptions import ConnectionLost
from hisock.framing import Scratch

logger = logging.getLogger("hisock.server")

#: Ordinary ends of a connection, which are logged at INFO; the others are warnings.
_ORDINARY_ENDS = frozenset({"left", "eof", "kicked", "closed", "replaced", "health"})


class Hub:
    """The clients of one server, and the loop that serves them.

    Everything here runs on the loop's thread, except what says otherwise.

    :param events: the handlers.
    :param runner: runs the handlers.
    :param thread: the loop and its thread.
    :param sender: the server on which ``send_client`` is called.
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
        #: Guards what several threads change of a connection; held for a few instructions only.
        self.lock = threading.Lock()
        self.flushing = Flushing(thread)
        self.backpressure = Backpressure(self)
        # Bound methods made once, since every connection keeps them.
        self.dispatch = events.dispatch
        self.schedule = self.flushing.schedule
        self.overfull = self.backpressure.outbox_full
        runner.free_memory = self.backpressure.free_memory
        self.options = options
        self.header_len = options.header_len
        self.frames = ConstantFrames(options, events.codec.name)
        self.registry: Registry[Connection] = Registry()
        self.broadcast = Broadcast(self.registry, self.header_len)
        self.scratch: Scratch = Scratch(RECEIVE_SIZE)
        self.limits = Limits(self)
        self.announcements = Announcements(self)
        self.decisions = Decisions(self)
        self.admission = Admission(self)
        self.renaming = Renaming(self)
        self.ticks = Ticks(self)
        self.ended: Counter[str] = Counter()
        self.joins = 0
        self.sessions = Sessions(options.session)
        self.receipts = Receipts(self)
        self.lag = Lag(thread)
        self.watchdog = Watchdog(thread)
        self.ended_figures = Figures()
        self._resumable = Resumable(self)
        self._log_limit = LogLimit()
        self._unix_clients = 0
        #: All connections: pending, joined, and those that are still being closed.
        self.connections: set[Connection] = set()
        self._listeners: list[Listener] = []
        self._accepting = False
        self._stopping: asyncio.Event | None = None
        self._interruption: BaseException | None = None
        self.shutdown = Shutdown(self)
        #: Detects WebSockets among new connections; ``None`` if the server takes none.
        self.greeter: Greeter | None = None
        if options.websocket is not None:
            self.greeter = make_greeter(options.websocket, lambda: self.shutdown.requested)

    # -- the run of the loop

    async def serve(self, listeners: list[Listener], ready: Callable[[], None]) -> None:
        """Serve until :meth:`stop`; then shut down.

        :param listeners: the sources of connections.
        :param ready: called when clients are being accepted.
        """
        self.thread.begin()
        self.loop = self.thread.loop
        self._stopping = asyncio.Event()
        if self.shutdown.requested:
            self._stopping.set()
        self._listeners[:0] = listeners
        self.ticks.start()
        self.watchdog.start()
        if self.options.keepalive:
            Keepalive(self).start()
        self.lag.watch()
        self._tell_of_unhandled()
        backplane = self.broadcast.backplane
        try:
            if backplane is not None:
                await backplane.start()
            self._accepting = True
            for listener in self._listeners:
                listener.start(self)
            ready()
            await self._stopping.wait()
        finally:
            self.shutdown.request(None)
            try:
                await self.shutdown.run(self._listeners)
            finally:
                self.watchdog.stop()
                self.thread.end()
        if self._interruption is not None:
            raise self._interruption

    def stop(self, timeout: float | None = None) -> None:
        """End :meth:`serve`. May be called from any thread, before it as well.

        :param timeout: see :meth:`hisock._server.shutdown.Shutdown.request`.
        """
        self.shutdown.request(timeout)
        stopping = self._stopping
        if stopping is not None:
            self.thread.post(stopping.set)
            self.thread.post(self.shutdown.wake)

    def interrupt(self, exc: BaseException) -> None:
        """End :meth:`serve` with an exception that a handler raised to end the program."""
        self._interruption = exc
        self.stop()

    # -- coming and going

    def listen(self, listener: Listener) -> None:
        """Add a listener, which starts now or when the server starts."""
        self._listeners.append(listener)
        if self._accepting:
            listener.start(self)

    def attach(self, transport: asyncio.Transport, addr: tuple[str, int]) -> Connection:
        """Serve a client that is connected over a transport.

        :param transport: anything that behaves like an asyncio transport; the connection becomes
            its protocol, an :class:`asyncio.BufferedProtocol`.
        :param addr: the client's address.
        """
        connection = Connection(self, addr)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        return connection

    def next_unix_address(self) -> tuple[str, int]:
        """A numbered address for a client on a Unix socket, which has none of its own."""
        self._unix_clients += 1
        return "unix", self._unix_clients

    def connected(self, connection: Connection) -> None:
        """A connection has been accepted."""
        self.connections.add(connection)
        self.admission.accepted(connection)

    def admit(self, connection: Connection, renamed: bool = False) -> None:
        """Let a client join.

        :param renamed: whether it is told the name and the group that the program gave it.
        """
        backplane, name = self.broadcast.backplane, connection.info.name
        if backplane is not None and backplane.claim(
            connection, name, lambda refusal: self._claimed(connection, refusal, renamed)
        ):
            return
        if connection.resume is not None:
            self._resumable.replace(connection, connection.resume)
        if self.options.unique_names and self.registry.has_name(name):
            self.admission.reject(connection, f"the name {name!r} is taken")
            return
        if connection.features is not None:
            connection.writer.write_control(self.frames.hello)
        self.joins += 1
        self.registry.add(connection)
        connection.admitted()
        if backplane is not None:
            backplane.admitted(connection.info)
        self.announcements.tell(protocol.CLIENT_JOINED, connection)
        if logger.isEnabledFor(logging.DEBUG):
            info = connection.info
            logger.debug("%s joined", info.shown(), extra=fields("joined", client=info))
        self.events.fire("join", connection)
        if self.events.callback is not None:
            self.events.call_back("join")
        if renamed:
            self.renaming.tell(connection)

    def _claimed(self, connection: Connection, refusal: str | None, renamed: bool) -> None:
        if refusal is None:
            self.admit(connection, renamed)
        else:
            self.admission.reject(connection, refusal)

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
        """End a connection and announce it to the other clients.

        :param kind: the kind of reason; see ``ended`` of :class:`hisock._server.stats.ServerStats`.
        :param reason: the reason in words, for the log.
        :param goodbye: send ``$DISCONN$`` first.
        :param call_func: whether the ``leave`` event fires, if the client had joined.
        :param at_once: abort, without draining its queue.
        """
        if connection.ended:
            return
        info = connection.info
        self.note_end(kind, reason, info)
        connection.explain(kind, reason)
        self.admission.ended(connection)
        self.limits.end(connection)
        had_joined = connection in self.registry
        if had_joined:
            self._remove(connection)
        elif self.broadcast.backplane is not None:
            self.broadcast.backplane.abandoned(connection)
        self._resumable.forget(connection)
        if goodbye:
            connection.writer.write_last(self.frames.goodbye)
        if at_once:
            connection.abort()
        else:
            connection.finish()
        self.backpressure.connection_ended(connection, kind)
        if had_joined:
            gone = ConnectionLost(f"{title_of(info)} is no longer connected")
            self.events.waiting.close_source(info.ip, gone)
            self.announcements.tell(protocol.CLIENT_LEFT, connection)
            if call_func:
                self.events.fire("leave", connection)
            if call_func and self.events.runs_elsewhere("leave"):
                return
            # The outbox is what finds the session, so the handler of `leave` needed it until now.
            object.__setattr__(info, "_outbox", None)

    def note_end(self, kind: str, reason: str, who: ClientInfo | str) -> None:
        """Count and log the end of a connection."""
        self.ended[kind] += 1
        level = logging.INFO if kind in _ORDINARY_ENDS else logging.WARNING
        if logger.isEnabledFor(level) and self._log_limit.permits(self.loop.time()):
            if self._log_limit.withheld:
                count = self._log_limit.reset()
                logger.warning(
                    "%d more connections ended, which were not logged one by one",
                    count,
                    extra=fields("connection_ended", withheld=count),
                )
            said = fields("connection_ended", client=who, reason=reason, kind=kind)
            name = who if isinstance(who, str) else who.shown()
            text = "connection of %s ended (%s): %s"
            logger.log(level, text, name, kind, one_line(reason), extra=said)

    def disconnected(self, connection: Connection) -> None:
        """The transport of a connection has closed."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self.limits.end(connection)
        self.announcements.forget(connection)
        self.admission.closed(connection)
        self.ended_figures = Figures(*map(add, self.ended_figures, connection.figures()))
        connection.release()
        if self.shutdown.begun and not self.connections:
            self.shutdown.wake()

    def disconnect(self, connection: Connection, force: bool, call_func: bool) -> None:
        """End a connection at the program's request."""
        reason = "the server disconnected it"
        self.leave(connection, "kicked", reason, goodbye=not force, call_func=call_func)

    def disconnect_all(self, force: bool) -> None:
        """End all connections, without announcing each to all the others that end too."""
        for connection in self._expel_all(None if force else lambda _: self.frames.goodbye):
            connection.explain("kicked", "the server disconnected it")
            connection.finish()
            self.backpressure.connection_ended(connection, "kicked")
            gone = ConnectionLost(f"{title_of(connection.info)} is no longer connected")
            self.events.waiting.close_source(connection.info.ip, gone)
            object.__setattr__(connection.info, "_outbox", None)  # as leave() does

    def say_goodbye(self) -> None:
        """Tell all connections goodbye, behind what waits for them; others end them."""
        for connection in self._expel_all(self.shutdown.goodbye):
            connection.explain("closed", "the server is closing")
            connection.finish_writing()
        for connection in list(self.connections):
            if connection.lost:
                # Its end was delayed by a running handler, which is not waited for any longer.
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
        old = self.registry.change(connection, info)
        self.announcements.moved(connection)
        if self.broadcast.backplane is not None:
            self.broadcast.backplane.changed(old, info)

    def describe(self, connection: Connection) -> bytes:
        """A client's description as other clients get it."""
        info = connection.info
        addr = (HIDDEN, connection.joined) if self.options.hide_addresses else info.addr
        return protocol.encode_client(addr, info.name, info.group)

    def lookup(self, who: str) -> bytes | None:
        """The description of the client with a name or address, or ``None`` if there is none."""
        if self.options.hide_addresses:
            addr = client_addr(who)
            if addr is not None and addr[0] != HIDDEN:
                return None  # not even whether a client has that address is told
        found = self.registry.lookup(who)
        if found is not None:
            return self.describe(found)
        backplane = self.broadcast.backplane
        return None if backplane is None else backplane.describe(who)

    def _tell_of_unhandled(self) -> None:
        """Report commands that were not taken within a second, every second."""
        self.events.note_unhandled()
        self.thread.later(1.0, self._tell_of_unhandled)

    def stats(self) -> ServerStats:
        """Figures as of now. From any thread."""
        return stats_of(self)
