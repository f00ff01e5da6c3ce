"""The workloads, in the order of the report."""

from __future__ import annotations

from . import (
    arrivals,
    broadcast,
    calls,
    clients,
    echo,
    fairness,
    handlers,
    joins,
    memory,
    players,
    roundtrip,
    scale,
    streams,
    tls,
    typed,
    web,
)
from .base import Workload

WORKLOADS: tuple[Workload, ...] = (
    echo.PIPELINED,
    roundtrip.ONE_CORE,
    roundtrip.TWO_CORES,
    typed.TYPED,
    typed.TYPED_ROUNDTRIP,
    handlers.HANDLERS,
    calls.CALLS,
    broadcast.BROADCAST,
    players.PLAYERS,
    echo.LARGE,
    streams.STREAMING,
    memory.MEMORY,
    joins.JOINS,
    arrivals.ARRIVALS,
    arrivals.STORM,
    tls.TLS,
    tls.TO_MANY,
    clients.CLIENTS,
    clients.SWARM,
    scale.SCALE,
    fairness.FAIRNESS,
    web.ECHO,
    web.PLAYERS_CPU,
    web.IDLE,
)

BY_NAME = {workload.name: workload for workload in WORKLOADS}
