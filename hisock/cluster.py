"""Servers on several processes and machines that act as one; see the guide of clusters."""

from __future__ import annotations

from hisock._cluster.config import Cluster
from hisock.exceptions import NotLocal

__all__ = ["Cluster", "NotLocal"]
