"""What counts towards ``max_buffered``, and what happens where that is reached again and again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import command_frame, frame
from support.memory import MemoryPeer, settle
from support.polling import until

import hisock
from hisock._framing_common import MANY
from hisock._runtime import turns
from hisock._server.on_demand import OnDemand

ADDR = ("127.0.0.1", 0)
KIB = 1024
CLIENTS = 100


def test_the_largest_clients_are_looked_for_once_in_an_iteration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of a hundred that read in one iteration looked at all the others."""
    asked = 0
    droppable: Any = OnDemand.droppable.fget  # type: ignore[attr-defined] # it is a property

    def count(self: OnDemand) -> int:
        nonlocal asked
        asked += 1
        size: int = droppable(self)
        return size

    async def play() -> None:
        async with hisock.HiSockServer(ADDR, announce="none", max_buffered=256 * KIB) as server:
            peers = [MemoryPeer(server, f"peer {number}") for number in range(CLIENTS)]
            await settle()
            half = frame(bytes(32 * KIB))[: 16 * KIB]
            for peer in peers:
                peer.transport.write(half)
            await settle()
            ended = server.stats().ended["memory"]
            assert CLIENTS // 2 < ended < CLIENTS
            assert server.stats().buffered_bytes <= 256 * KIB
            assert asked < 10 * CLIENTS

    monkeypatch.setattr(OnDemand, "droppable", property(count))
    asyncio.run(play())


def test_frames_put_aside_are_not_counted_any_more_when_the_server_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They were, for good: a client that came back and flooded filled ``max_buffered``."""
    monkeypatch.setattr(turns, "MOST_SECONDS", 0.0)

    async def play() -> None:
        async with hisock.HiSockServer(ADDR, announce="none") as server:

            @server.on("say")
            def say(client: hisock.ClientInfo) -> None: ...

            peer = MemoryPeer(server, "flooding")
            await settle()
            peer.transport.write(command_frame("say") * 3 * MANY)
            for _ in range(1000):
                await asyncio.sleep(0)
                if peer.connection.aside:
                    break
            assert server.stats().memory["deferred"]
            server.disconnect_client("flooding")
            await settle()
            assert not server.stats().buffered_bytes

    asyncio.run(asyncio.wait_for(play(), 30))
