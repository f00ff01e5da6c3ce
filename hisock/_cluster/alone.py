"""A server that is in no cluster, or not yet: a cluster of one."""

from __future__ import annotations

import os
import socket
import time
from secrets import token_hex
from typing import Any

from hisock._cluster.assignment import assignment
from hisock._cluster.crew import require_workers
from hisock._cluster.link import NodeHello
from hisock._cluster.node import NodeState
from hisock._cluster.peers import OtherNode
from hisock._core.codec import Codec
from hisock.exceptions import ConnectionLost


def new_hello(app: str, header_len: int, codec: Codec, **more: Any) -> NodeHello:
    """What this process says of itself, as a node with a new id."""
    return NodeHello(
        node=token_hex(8),
        app=app,
        header_len=header_len,
        codec=codec.name,
        host=socket.gethostname()[:255],
        pid=os.getpid(),
        started=time.time(),
        **more,
    )


def cluster_of_workers() -> str:
    """The cluster that the workers of one parent are, where the program names no other.

    :raises NotImplementedError: this system has no workers.
    """
    require_workers()
    part = assignment()
    # The parent serves no clients, so that it connects to nothing.
    return f"local:{'/hisock' if part is None else part.folder}"


class Alone:
    """What a :class:`hisock._cluster.view.ClusterView` shows of a server without others."""

    def __init__(self, hello: NodeHello) -> None:
        self.hello = hello
        self.others: dict[str, OtherNode] = {}
        self.state: NodeState = "up"

    def ask(self, node: str, *question: Any) -> int:
        """Ask another node, of which there is none."""
        raise ConnectionLost(f"the node {node} cannot be reached")

    def forget(self, number: int, cancel: bool = False) -> None:
        """Stop waiting for an answer."""
