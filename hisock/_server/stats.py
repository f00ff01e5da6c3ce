"""The figures of a server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from hisock._core.account import Total
from hisock._core.public import publish
from hisock._runtime.loop_thread import LoopThread

if TYPE_CHECKING:
    from hisock._server.hub import Hub
    from hisock._server.writer import Writer


class Figures(NamedTuple):
    """The messages and bytes of one connection, or of several together."""

    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped: int = 0

    @classmethod
    def sum(cls, figures: Iterable[Figures]) -> Figures:
        return cls(*map(sum, zip(cls(), *figures, strict=True)))


def memory_by_kind(memory: Total, writers: Iterable[Writer]) -> dict[str, int]:
    """Return :attr:`ServerStats.memory`."""
    kinds = memory.by_kind()
    kinds["latest"] = kinds["outbox"] = 0
    for writer in writers:
        latest = writer.latest_bytes
        kinds["latest"] += latest
        kinds["outbox"] += max(0, writer.backlog() - latest)
    return kinds


class Lag:
    """How late the loop calls what is due every second.

    :ivar seconds: how late the last one was.
    """

    def __init__(self, thread: LoopThread) -> None:
        self._thread = thread
        self.seconds = 0.0

    def watch(self) -> None:
        """Measure, every second from now on."""
        self._thread.later(1.0, self._measure)

    def _measure(self) -> None:
        self.seconds = self._thread.late
        self.watch()


@dataclass(frozen=True)
class TickStats:
    """One function registered with ``@server.every``.

    :ivar interval: seconds between two ticks.
    :ivar late: seconds that the last tick came after it was due; ``latest`` is the maximum so far.
    :ivar skipped: how many ticks were skipped because the one before took too long.
    """

    interval: float
    late: float
    latest: float
    skipped: int


@dataclass(frozen=True)
class ClusterStats:
    """What a server of a cluster says of itself and of the others, in ``stats().cluster``.

    :ivar node: the id of this node.
    :ivar state: ``"joining"``, ``"up"``, ``"down"`` while its link is, or ``"closed"``.
    :ivar link: what carries the messages: ``"nats"``, ``"redis"``, ``"local"``.
    :ivar nodes: gauge: the other nodes that have joined, by id, with how many clients each has.
    :ivar batches_out: batches sent; ``entries_out`` the messages and changes in them, and
        ``bytes_out`` their bytes.
    :ivar waiting_bytes: gauge: bytes that wait to be sent to other nodes.
    :ivar lost: messages that were dropped because a link was down or a node was behind, and those
        that a link had taken and that are not known to have left when it was cut; counted for each
        node that did not get them. A node that lives counts the latter among ``missed`` as well.
    :ivar behind: how often what waited for a node was dropped because that was behind.
    :ivar missed: messages and changes of other nodes that did not arrive, though these had sent
        them.
    :ivar repeated: batches that came twice and were dropped; ``refused`` those that made no sense
        or were made with another key, and connections to the Unix sockets of the cluster that were
        closed because no node made them; ``unknown`` messages of a kind that is not known here.
    :ivar resyncs: how often another node's list of clients was asked for because of a loss.
    :ivar lag: gauge: seconds of the last round trip to the broker, 0 where there is none.
    :ivar delays: gauge: seconds that the last batch of each node took, by the two clocks.
    """

    node: str
    state: str
    link: str
    nodes: dict[str, int] = field(default_factory=dict)
    batches_out: int = 0
    entries_out: int = 0
    bytes_out: int = 0
    waiting_bytes: int = 0
    lost: int = 0
    behind: int = 0
    missed: int = 0
    repeated: int = 0
    refused: int = 0
    unknown: int = 0
    resyncs: int = 0
    lag: float = 0.0
    delays: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerStats:
    """Figures of a server: counters since its start, and gauges as of now.

    :ivar clients: gauge: clients that have joined and are connected.
    :ivar connections: gauge: connections, including those that have not joined.
    :ivar joins: clients that have joined.
    :ivar messages_in: frames received; ``messages_out`` frames sent.
    :ivar bytes_in: bytes received; ``bytes_out`` bytes sent.
    :ivar queued_bytes: gauge: bytes that wait to be written to clients.
    :ivar buffered_bytes: gauge: bytes of memory that received data occupies until it is handled,
        including that of clients that have disconnected, and the rooms that clients are in;
        ``max_buffered`` bounds it.
    :ivar memory: gauge: the same by kind: ``partial`` frames, frames ``deferred`` while async
        handlers run, frames held for ``admission``, threaded work that is ``queued`` or
        ``running``, tasks of ``concurrent`` handlers, those of them that are ``pending`` until
        others have ended, ``rooms``; and bytes that wait to be written, newest states
        (``latest``) and everything else (``outbox``).
    :ivar dropped: frames that were not sent because the client was slow.
    :ivar ended: connections that ended, by kind of reason: ``left``, ``eof``, ``reset``, ``cut``,
        ``kicked``, ``closed``, ``replaced``, ``hello``, ``framing``, ``protocol``,
        ``keepalive``, ``full``, ``rejected``, ``slow``, ``flood``, ``memory``, ``tls``, ``rate``,
        ``http`` (an HTTP request that is no WebSocket), ``health``, and ``failed`` (this library
        raised at what came by a WebSocket).
    :ivar handler_errors: exceptions that handlers raised.
    :ivar unhandled: commands taken neither by a handler nor, within a second, by a ``recv``, by
        name; from the hundredth name on, together as ``(others)``.
    :ivar loop_lag: gauge: seconds that the loop was late for a timer that is due every second.
    :ivar slow: how often a function of the program held the loop for more than 100 ms, by its name;
        from the hundredth name on, together as ``(others)``.
    :ivar ticks: the ticks, by name of the function.
    :ivar cluster: the figures of the cluster; ``None`` without one.
    """

    clients: int = 0
    connections: int = 0
    joins: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    queued_bytes: int = 0
    buffered_bytes: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    handler_errors: int = 0
    unhandled: dict[str, int] = field(default_factory=dict)
    loop_lag: float = 0.0
    slow: dict[str, int] = field(default_factory=dict)
    ticks: dict[str, TickStats] = field(default_factory=dict)
    cluster: ClusterStats | None = None


def stats_of(hub: Hub) -> ServerStats:
    """The figures of a server as of now. From any thread."""
    connections = list(hub.connections)
    figures = Figures.sum((hub.ended_figures, *(each.figures() for each in connections)))
    backplane = hub.broadcast.backplane
    return ServerStats(
        clients=len(hub.registry),
        connections=len(connections),
        joins=hub.joins,
        messages_in=figures.messages_in,
        messages_out=figures.messages_out,
        bytes_in=figures.bytes_in,
        bytes_out=figures.bytes_out,
        queued_bytes=sum(connection.writer.backlog() for connection in connections),
        buffered_bytes=hub.memory.size,
        memory=memory_by_kind(hub.memory, [connection.writer for connection in connections]),
        dropped=hub.broadcast.dropped + figures.dropped,
        ended=dict(hub.ended),
        handler_errors=hub.runner.errors,
        unhandled=dict(hub.events.unhandled.counts),
        loop_lag=hub.lag.seconds,
        slow=dict(hub.watchdog.slow),
        ticks=hub.ticks.stats(),
        cluster=None if backplane is None else backplane.stats(),
    )


publish("hisock", globals(), ("ClusterStats", "ServerStats", "TickStats"))
