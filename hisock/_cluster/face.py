"""The part of a server that is about its cluster."""

from __future__ import annotations

from typing import Any

from hisock._cluster.view import ClusterView
from hisock._core.codec import Codec
from hisock._server.audience import Audience, Broadcast
from hisock._server.connection import Connection
from hisock._server.directory import Directory, OwnDirectory
from hisock._server.hub import Hub
from hisock._server.membership import Membership
from hisock._server.registry import Registry
from hisock._server.sending import Sending


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
    _cluster: ClusterView | None

    @property
    def cluster(self) -> ClusterView:
        """The cluster that the server is part of.

        :raises RuntimeError: it was made without ``cluster=``.
        """
        if self._cluster is None:
            raise RuntimeError("the server is in no cluster; make it with cluster=")
        return self._cluster

    @property
    def local(self) -> LocalServer:
        """The clients of this process: ``server.local.send_group(...)`` sends to those only."""
        return LocalServer(self._hub, self._codec)
