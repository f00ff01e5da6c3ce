"""``python -m soak.cluster_node URL [unique]``: one server of a cluster, for :mod:`soak.cluster`.

It is told in lines of JSON what to do, and sends numbers to all clients of the cluster: ``"<node>
<number> <moment>"``, the moment in nanoseconds of the clock that all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from typing import Any

import hisock


class SoakNode:
    """The server, and what it has seen."""

    def __init__(self, url: str, unique: bool) -> None:
        cluster = hisock.Cluster(url, app="chess")
        self.server = hisock.HiSockServer(
            ("127.0.0.1", 0),
            cluster=cluster,
            announce="none",
            keepalive=False,
            unique_names=unique,
        )
        self.sent = 0
        #: From which number on messages went to which nodes.
        self.addressed: list[tuple[int, list[str]]] = []
        #: The nodes that left: id, how many clients, when that was known.
        self.left: list[tuple[str, int, int]] = []
        self._sending: asyncio.Task[None] | None = None
        self.server.on("node_leave")(self._node_left)

    def _node_left(self, node: hisock.NodeInfo, clients: list[hisock.ClientInfo]) -> None:
        self.left.append((node.node, len(clients), time.monotonic_ns()))

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        async with self.server:
            self.node = self.server.cluster.me.node
            said = {"port": self.server.addr[1], "node": self.node}
            while True:
                print(json.dumps(said), flush=True)
                line = await loop.run_in_executor(None, sys.stdin.readline)
                if not line:
                    return
                question = json.loads(line)
                said = getattr(self, question.pop("do"))(**question)

    # -- what it is told to do

    def send(self, rate: float, size: int) -> dict[str, Any]:
        """Send so many messages a second of that size, until :meth:`quiet`."""
        self._sending = asyncio.ensure_future(self._send(rate, size))
        return {}

    def quiet(self) -> dict[str, Any]:
        if self._sending is not None:
            self._sending.cancel()
        return {"sent": self.sent}

    def figures(self) -> dict[str, Any]:
        stats = self.server.stats().cluster
        assert stats is not None
        return {
            "lost": stats.lost,
            "missed": stats.missed,
            "left": self.left,
            "addressed": self.addressed,
            "sent": self.sent,
            "state": stats.state,
        }

    def clients(self) -> dict[str, Any]:
        """All clients of the cluster, and the names of those that are connected here."""
        everybody = self.server.get_all_clients()
        own = [client.name for client in everybody if client.node is None]
        return {"all": sorted(f"{client.ip} {client.name}" for client in everybody), "own": own}

    async def _send(self, rate: float, size: int) -> None:
        loop = asyncio.get_running_loop()
        begun, count = loop.time(), 0
        while True:
            while count < (loop.time() - begun) * rate:
                count += 1
                self._send_one(size)
            await asyncio.sleep(1 / rate)

    def _send_one(self, size: int) -> None:
        others = sorted({c.node for c in self.server.get_all_clients() if c.node is not None})
        self.sent += 1
        if not self.addressed or self.addressed[-1][1] != others:
            self.addressed.append((self.sent, others))
        text = f"{self.node} {self.sent} {time.monotonic_ns()} "
        self.server.send_all_clients("n", text.encode().ljust(size, b"."))


def main() -> None:
    logging.basicConfig(level=logging.ERROR)
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    asyncio.run(SoakNode(sys.argv[1], "unique" in sys.argv).run())


if __name__ == "__main__":
    main()
