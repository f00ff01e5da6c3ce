"""Servers on several processes and machines that act as one; see the guide of clusters."""

from __future__ import annotations

from hisock._cluster.blocking_publisher import Publisher
from hisock._cluster.config import Cluster
from hisock._cluster.face import LocalServer
from hisock._cluster.publisher import AsyncPublisher
from hisock._cluster.view import ClusterView, NodeInfo
from hisock._server.stats import ClusterStats
from hisock.exceptions import NotLocal

__all__ = [
    "AsyncPublisher",
    "Cluster",
    "ClusterStats",
    "ClusterView",
    "LocalServer",
    "NodeInfo",
    "NotLocal",
    "Publisher",
]
