"""The figures of a server that are exported as metrics: their names, texts, and where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hisock._server.stats import ServerStats, TickStats

Value = int | float

GAUGES: Final[Mapping[str, tuple[str, Callable[[ServerStats], Value]]]] = {
    "clients": ("Clients that have joined and are connected.", lambda s: s.clients),
    "connections": ("Connections, those that have not joined included.", lambda s: s.connections),
    "queued_bytes": ("Bytes that wait for clients to take them.", lambda s: s.queued_bytes),
    "buffered_bytes": ("Bytes held of what has come and is not done.", lambda s: s.buffered_bytes),
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
