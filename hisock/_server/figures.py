"""The figures of a server that are exported as metrics: their names, texts, and where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hisock._server.stats import ClusterStats, ServerStats, TickStats

Value = int | float

GAUGES: Final[Mapping[str, tuple[str, Callable[[ServerStats], Value]]]] = {
    "clients": ("Clients that have joined and are connected.", lambda s: s.clients),
    "connections": ("Connections, those that have not joined included.", lambda s: s.connections),
    "queued_bytes": ("Bytes that wait for clients to take them.", lambda s: s.queued_bytes),
    "buffered_bytes": ("Bytes of what is not done, and of rooms.", lambda s: s.buffered_bytes),
    "loop_lag_seconds": ("How late the event loop was last.", lambda s: s.loop_lag),
}
COUNTERS: Final[Mapping[str, tuple[str, Callable[[ServerStats], Value]]]] = {
    "joins": ("Clients that have joined.", lambda s: s.joins),
    "received_messages": ("Frames received.", lambda s: s.messages_in),
    "sent_messages": ("Frames sent.", lambda s: s.messages_out),
    "received_bytes": ("Bytes received.", lambda s: s.bytes_in),
    "sent_bytes": ("Bytes sent.", lambda s: s.bytes_out),
    "dropped_messages": ("Frames that slow clients were not sent.", lambda s: s.dropped),
    "unhandled_messages": (
        "Frames of commands without a handler.",
        lambda s: sum(s.unhandled.values()),
    ),
    "handler_errors": ("Exceptions that handlers raised.", lambda s: s.handler_errors),
    "slow_handlers": (
        "Handlers that held the event loop for more than 100 ms.",
        lambda s: sum(s.slow.values()),
    ),
}
TICK_GAUGES: Final[Mapping[str, tuple[str, Callable[[TickStats], Value]]]] = {
    "tick_interval_seconds": ("Seconds between two ticks.", lambda tick: tick.interval),
    "tick_late_seconds": ("How late the last tick was.", lambda tick: tick.late),
    "tick_latest_seconds": ("How late the latest tick was.", lambda tick: tick.latest),
}
CLUSTER_GAUGES: Final[Mapping[str, tuple[str, Callable[[ClusterStats], Value]]]] = {
    "cluster_nodes": ("Other servers that have joined.", lambda c: len(c.nodes)),
    "cluster_clients": ("Clients of other servers.", lambda c: sum(c.nodes.values())),
    "cluster_up": ("Whether the link to the other servers is up.", lambda c: int(c.state == "up")),
    "cluster_waiting_bytes": ("Bytes that wait for other servers.", lambda c: c.waiting_bytes),
    "cluster_lag_seconds": ("The last round trip to the broker.", lambda c: c.lag),
    "cluster_delay_seconds": (
        "How long the last batch of the slowest server took, by the two clocks.",
        lambda c: max(c.delays.values(), default=0.0),
    ),
}
CLUSTER_COUNTERS: Final[Mapping[str, tuple[str, Callable[[ClusterStats], Value]]]] = {
    "cluster_sent_batches": ("Batches sent to other servers.", lambda c: c.batches_out),
    "cluster_sent_entries": ("Messages and changes in them.", lambda c: c.entries_out),
    "cluster_sent_bytes": ("Bytes sent to other servers.", lambda c: c.bytes_out),
    "cluster_lost_messages": ("Messages that other servers did not get.", lambda c: c.lost),
    "cluster_behind": ("Times that another server was too far behind.", lambda c: c.behind),
    "cluster_missed_entries": ("Messages and changes that got lost.", lambda c: c.missed),
    "cluster_repeated_batches": ("Batches that came twice.", lambda c: c.repeated),
    "cluster_refused_batches": (
        "Batches, and connections, that made no sense.",
        lambda c: c.refused,
    ),
    "cluster_unknown_records": ("Records of a kind not known here.", lambda c: c.unknown),
    "cluster_resyncs": ("Lists of clients asked for after a loss.", lambda c: c.resyncs),
}
