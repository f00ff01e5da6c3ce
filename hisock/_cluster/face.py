"""The part of a server that is about its cluster."""

from __future__ import annotations

from typing import Any

import hisock._cluster as _cluster
from hisock._cluster.assignment import assignment
from hisock._cluster.config import Cluster
from hisock._core.binding import CLUSTER_EVENTS
from hisock._core.codec import Codec
from hisock._core.public import publish
from hisock._core.server_events import ServerEvents
from hisock._server.audience import Audience, Broadcast
from hisock._server.connection import Connection
from hisock._server.directory import Directory, OwnDirectory
from hisock._server.hub import Hub
from hisock._server.membership import Membership
from hisock._server.registry import Registry
from hisock._server.sending import Sending
from hisock._server.stats import ServerStats


class LocalBroadcast(Broadcast):
    """Writes messages to the clients of this process only.

    :param whole: that of the server, which counts.
    """

    def __init__(self, whole: Broadcast, registry: Registry[Connection], header_len: int) -> None:
        super().__init__(registry, header_len)
        self._whole = whole

    def publish(
        self,
        audience: Audience,
        command: str,
        message: bytes | None,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        return self._whole.deliver(audience, command, message, volatile, latest)


class LocalServer(Sending, Membership[Any]):
    """The clients of this process: the methods of a server that send to clients and look them up,
    without those of other servers of its cluster. It is ``server.local``."""

    def __init__(self, hub: Hub, codec: Codec) -> None:
        self.header_len = hub.header_len
        self._hub = hub
        self._codec = codec
        self._registry = hub.registry
        self._broadcast = LocalBroadcast(hub.broadcast, hub.registry, hub.header_len)
        self._directory: Directory = OwnDirectory(hub)


class Clustered:
    """Says what a server's cluster is, and what is of this process only."""

    _hub: Hub
    _codec: Codec
    _view: Any  # ClusterView | None; loaded only when it is asked for

    def stats(self) -> ServerStats:
        raise NotImplementedError

    def _join(self, cluster: Cluster | str | None, workers: int | None) -> None:
        """Become a part of a cluster, if one is given or there are workers."""
        self._view = None
        if cluster is None and workers is not None:
            from hisock._cluster.alone import cluster_of_workers

            cluster = cluster_of_workers()
        if cluster is not None or assignment() is not None:
            self._hub.events.reserve(CLUSTER_EVENTS)
        if cluster is not None:
            self._join_cluster(cluster)

    def _join_cluster(self, cluster: Cluster | str) -> None:
        from hisock._cluster.joining import join

        join(self, cluster)

    @property
    def cluster(self) -> _cluster.view.ClusterView:
        """The cluster that the server is part of; without ``cluster=`` and ``workers=`` it is
        alone in it, so that one program may run either way."""
        view: _cluster.view.ClusterView | None = self._view
        if view is None:
            from hisock._cluster.alone import Alone, new_hello
            from hisock._cluster.view import ClusterView

            hub = self._hub
            # The commands of other nodes have a table of their own: clients cannot send them.
            events = ServerEvents(hub.events.waiting, hub.runner, self._codec, hub.header_len, -1)
            me = Alone(new_hello("default", hub.header_len, self._codec))
            view = self._view = ClusterView(events, self.stats, me)
        return view

    @property
    def local(self) -> LocalServer:
        """The clients of this process: ``server.local.send_group(...)`` sends to those only."""
        return LocalServer(self._hub, self._codec)


publish("hisock", globals(), ("LocalServer",))
