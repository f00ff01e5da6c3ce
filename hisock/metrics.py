"""A server's figures for Prometheus: ``pip install 'hisock[metrics]'``.

To have them at ``http://127.0.0.1:9464/metrics``::

    from hisock.metrics import serve_metrics

    with serve_metrics(server, port=9464):
        server.start()

A program that exposes figures of its own registers a :class:`ServerCollector` beside them. What
the figures mean stands at :class:`hisock.ServerStats`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hisock._runtime.sockets import address_text
from hisock._server.figures import CLUSTER_COUNTERS, CLUSTER_GAUGES, COUNTERS, GAUGES, TICK_GAUGES
from hisock._server.stats import ServerStats
from hisock.server import HiSockServer

__all__ = [
    "ServerCollector",
    "serve_metrics",
]


class ServerCollector(Collector):
    """What :meth:`hisock.HiSockServer.stats` says, as metrics whose names begin with ``hisock_``.

    Every metric has the label ``server``. Nothing is counted between two scrapes, so it costs
    nothing between two scrapes. It may be registered before the server is started.

    :param servers: a server, which is called by its address; or several, by the names to call
        them by.
    """

    def __init__(self, servers: HiSockServer | Mapping[str, HiSockServer]) -> None:
        if isinstance(servers, HiSockServer):
            servers = {address_text(servers.addr): servers}
        self._servers = dict(servers)

    def describe(self) -> Iterable[Metric]:
        """What :meth:`collect` returns, without any figures."""
        return _metrics({})

    def collect(self) -> Iterable[Metric]:
        """The figures as of now. From any thread."""
        return _metrics({name: server.stats() for name, server in self._servers.items()})


def _metrics(stats: Mapping[str, ServerStats]) -> Iterator[Metric]:
    for key, (text, figure) in GAUGES.items():
        gauge = GaugeMetricFamily(f"hisock_{key}", text, labels=["server"])
        for name, each in stats.items():
            gauge.add_metric([name], figure(each))
        yield gauge
    for key, (text, figure) in COUNTERS.items():
        counter = CounterMetricFamily(f"hisock_{key}", text, labels=["server"])
        for name, each in stats.items():
            counter.add_metric([name], figure(each))
        yield counter
    ended = CounterMetricFamily(
        "hisock_connections_ended", "Connections that ended.", labels=["server", "reason"]
    )
    for name, each in stats.items():
        for reason, count in each.ended.items():
            ended.add_metric([name, reason], count)
    yield ended
    yield from _tick_metrics(stats)
    yield from _cluster_metrics(stats)


def _cluster_metrics(stats: Mapping[str, ServerStats]) -> Iterator[Metric]:
    clusters = {name: each.cluster for name, each in stats.items() if each.cluster is not None}
    for key, (text, figure) in CLUSTER_GAUGES.items():
        gauge = GaugeMetricFamily(f"hisock_{key}", text, labels=["server"])
        for name, cluster in clusters.items():
            gauge.add_metric([name], figure(cluster))
        yield gauge
    for key, (text, figure) in CLUSTER_COUNTERS.items():
        counter = CounterMetricFamily(f"hisock_{key}", text, labels=["server"])
        for name, cluster in clusters.items():
            counter.add_metric([name], figure(cluster))
        yield counter


def _tick_metrics(stats: Mapping[str, ServerStats]) -> Iterator[Metric]:
    for key, (text, figure) in TICK_GAUGES.items():
        gauge = GaugeMetricFamily(f"hisock_{key}", text, labels=["server", "tick"])
        for name, each in stats.items():
            for tick, figures in each.ticks.items():
                gauge.add_metric([name, tick], figure(figures))
        yield gauge
    skipped = CounterMetricFamily(
        "hisock_ticks_skipped",
        "Ticks skipped because the one before took too long.",
        labels=["server", "tick"],
    )
    for name, each in stats.items():
        for tick, figures in each.ticks.items():
            skipped.add_metric([name, tick], figures.skipped)
    yield skipped


@contextlib.contextmanager
def serve_metrics(
    servers: HiSockServer | Mapping[str, HiSockServer],
    port: int = 9464,
    addr: str = "127.0.0.1",
    registry: CollectorRegistry = REGISTRY,
) -> Iterator[int]:
    """Expose the figures over HTTP during the ``with`` block, in a thread of its own.

    :param servers: as for :class:`ServerCollector`.
    :param port: where; 0 takes a free one.
    :param addr: which address; the default is reachable from this machine only. There is neither
        encryption nor authentication.
    :param registry: what else is exposed; by default what Prometheus' client knows of the process.
    :returns: for ``as``: the port.
    :raises OSError: the port is in use.
    :raises ValueError: the registry has figures of that name already.
    """
    collector = ServerCollector(servers)
    registry.register(collector)
    try:
        http, thread = start_http_server(port, addr, registry)
        try:
            yield http.server_port
        finally:
            http.shutdown()
            http.server_close()
            _join(thread)
    finally:
        registry.unregister(collector)


def _join(thread: threading.Thread) -> None:
    if thread is not threading.current_thread():
        thread.join()
