"""Several real servers in one process, joined by a simulated network, on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from support.memory import MemoryPeer

import hisock
from cluster.simulated import Network, SimulatedLink
from hisock._cluster.links import SCHEMES
from hisock._cluster.plane import Plane

_networks: dict[str, Network] = {}
SCHEMES["simulated"] = lambda url: _networks[url].link()


class Game:
    """The servers of a test."""

    def __init__(self, network: Network, cluster: dict[str, Any], options: dict[str, Any]) -> None:
        self.network = network
        self.servers: list[hisock.HiSockServer] = []
        self._url = f"simulated:{id(self)}"
        _networks[self._url] = network
        self._cluster = cluster
        self._options = options
        self._stack = contextlib.AsyncExitStack()

    async def add(self, **options: Any) -> hisock.HiSockServer:
        """One more server, which runs."""
        cluster = hisock.Cluster(self._url, **self._cluster)
        given = {"announce": "none", "keepalive": False, **self._options, **options}
        server = hisock.HiSockServer(("127.0.0.1", 0), cluster=cluster, **given)
        self.servers.append(server)
        await self._stack.enter_async_context(server)
        return server

    async def close(self) -> None:
        await self._stack.aclose()
        del _networks[self._url]


@contextlib.asynccontextmanager
async def game(
    count: int = 2,
    broadcasts: bool = True,
    cluster: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Game]:
    """So many servers that know each other."""
    made = Game(Network(broadcasts), cluster or {}, options)
    try:
        for _ in range(count):
            await made.add()
        await asyncio.sleep(0.5)
        yield made
    finally:
        await made.close()


def plane(server: hisock.HiSockServer) -> Plane:
    """The part of a server that is its cluster's."""
    found = server._hub.broadcast.backplane
    assert isinstance(found, Plane)
    return found


def link(server: hisock.HiSockServer) -> SimulatedLink:
    """The link of a server."""
    found = plane(server).node.link
    assert isinstance(found, SimulatedLink)
    return found


def me(server: hisock.HiSockServer) -> str:
    """The id of a server's node."""
    return server.cluster.me.node


async def join(server: hisock.HiSockServer, name: str, **hello: Any) -> MemoryPeer:
    """A client that has joined a server, and is known to the others."""
    peer = MemoryPeer(server, name, features=["call", "cancel"], **hello)
    await asyncio.sleep(0.05)
    return peer


def rosters(servers: list[hisock.HiSockServer]) -> list[list[tuple[Any, ...]]]:
    """All clients as each server sees them, in an order of their own."""
    return [
        sorted(
            (c.addr, c.name or "", c.group or "", *sorted(s.rooms(c))) for c in s.get_all_clients()
        )
        for s in servers
    ]
