"""What counts towards ``max_buffered``, and what happens where that is reached again and again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import command_frame, frame
from support.memory import MemoryPeer, settle
from support.polling import until

import hisock
from hisock._framing_common import FIRST_READ, MANY
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


def test_rooms_count_and_the_client_that_has_most_of_them_is_ended() -> None:
    """No bound counted them: 1,500 clients had 290 MB of names of rooms."""

    async def play() -> None:
        async with hisock.HiSockServer(ADDR, announce="none", max_buffered=256 * KIB) as server:

            @server.on("enter")
            def enter(client: hisock.ClientInfo, room: str) -> None:
                server.join_room(client, room)

            ada, eve = MemoryPeer(server, "Ada"), MemoryPeer(server, "Eve")
            for number in range(20):
                ada.send("enter", b"lobby %d" % number)
            for number in range(200):
                eve.send("enter", b"lobby 7" if number == 100 else b"%01000d" % number)
            await until(lambda: server.stats().ended.get("memory") == 1)
            await until(lambda: eve.ended)
            assert server.rooms("Ada") == {f"lobby {number}" for number in range(20)}
            assert 0 < server.stats().memory["rooms"] == server.stats().buffered_bytes < 16 * KIB
            assert len(server._registry.rooms) == 20
            for number in range(17):
                server.leave_room("Ada", f"lobby {number}")
            assert not server.stats().buffered_bytes

    asyncio.run(play())


def test_a_client_in_too_many_rooms_enters_no_more_and_stays() -> None:
    async def play() -> None:
        async with (
            hisock.HiSockServer(ADDR) as server,
            hisock.async_connect(server.addr, "Ada") as ada,
        ):

            @server.on("enter")
            def enter(client: hisock.ClientInfo, count: int) -> int:
                try:
                    for number in range(count):
                        server.join_room(client, f"{number} ".ljust(1024, "\N{SNOWMAN}"))
                except ValueError:
                    return len(server.rooms(client))
                raise AssertionError("nothing bounds them")

            assert 1000 < await ada.call("enter", 3000, int, timeout=30) < 2000

    asyncio.run(asyncio.wait_for(play(), 60))


def test_long_frames_before_a_client_is_admitted_stay_in_the_kernel_too() -> None:
    """64 of 3 KB were read, by 48 short reads in one iteration of the loop, of each stranger."""

    async def play() -> None:
        go_on, seen = asyncio.Event(), []
        async with hisock.HiSockServer(ADDR, announce="none") as server:

            @server.authenticate
            async def authenticate(name: str | None) -> None:
                await go_on.wait()

            @server.on("say")
            def say(client: hisock.ClientInfo, message: bytes) -> None:
                seen.append(int(message))

            peer = MemoryPeer(server)
            for number in range(60):
                peer.send("say", b"%03000d" % number)
            await settle()
            assert 0 < server.stats().memory["admission"] < 16 * 1024 + 2 * FIRST_READ
            go_on.set()
            await settle()
            assert seen == list(range(60))
            assert not server.stats().buffered_bytes

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


@pytest.mark.parametrize("reading", [True, False])
def test_those_that_were_thrown_out_do_not_wait_for_their_turn(
    monkeypatch: pytest.MonkeyPatch, reading: bool
) -> None:
    """Four had one in each iteration: hundreds that a flood was ended for were kept meanwhile."""
    monkeypatch.setattr(turns, "MOST_SECONDS", 10.0 if reading else 0.0)

    async def play() -> None:
        async with hisock.HiSockServer(ADDR, announce="none") as server:

            @server.on("say")
            def say(client: hisock.ClientInfo) -> None: ...

            peers = [MemoryPeer(server) for _ in range(CLIENTS)]
            await settle()
            hub = server._hub
            waiting: Any = hub.flushing._resuming if reading else hub.runner.turns._held_up
            for peer in peers:
                peer.transport.write(command_frame("say") * 8000)
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(waiting) > CLIENTS // 2
            server.disconnect_all_clients(force=True)
            for _ in range(3):
                await asyncio.sleep(0)
            assert not waiting
            assert not any(peer.connection.busy for peer in peers)
            assert not server.stats().buffered_bytes

    asyncio.run(asyncio.wait_for(play(), 30))


def test_those_that_have_come_to_hold_much_are_ended_before_small_ones() -> None:
    async def play() -> None:
        async with hisock.HiSockServer(
            ADDR, announce="none", max_buffered=1_000_000, connection_rate=None
        ) as server:
            good = [MemoryPeer(server, f"good {number}") for number in range(100)]
            first, *more = [MemoryPeer(server, f"hog {number}") for number in range(19)]
            await settle()
            for peer in good:
                peer.transport.write(b"%-16d" % 3000 + bytes(1500))
            first.transport.write(b"%-16d" % 2_000_000 + bytes(400_000))
            await settle()
            # All of this is read in one iteration, in which the largest were looked for early.
            first.transport.write(bytes(60_000))
            for peer in more:
                peer.transport.write(b"%-16d" % 2_000_000 + bytes(60_000))
            await until(lambda: server.stats().ended.get("memory", 0) > 1)
            await settle()
            assert not any(peer.ended for peer in good)
            assert server.stats().buffered_bytes <= 1_000_000

    asyncio.run(play())


def test_what_a_handler_of_leave_holds_is_not_looked_for_again() -> None:
    """The connection has ended already: the server looked for ever."""

    async def play() -> None:
        go_on = asyncio.Event()
        async with hisock.HiSockServer(
            ADDR, announce="none", max_buffered=1_000_000, connection_rate=None
        ) as server:

            @server.on("big", concurrent=True)
            async def big(client: hisock.ClientInfo, message: bytes) -> None:
                await go_on.wait()

            @server.on("leave", concurrent=True)
            async def leave(client: hisock.ClientInfo) -> None:
                pass

            large, small = MemoryPeer(server, "large"), MemoryPeer(server, "small")
            large.send("big", bytes(998_000))  # one may always run, whatever its size
            await settle()
            small.transport.write(b"5000            $CMD$x")
            await until(lambda: small.ended)
            go_on.set()
            await until(lambda: not server.stats().buffered_bytes)

    asyncio.run(asyncio.wait_for(play(), 30))
