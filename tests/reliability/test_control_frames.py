"""Frames of the protocol's own: no policy for slow clients refuses them, no handler delays them."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from features.virtual_time import VirtualLoop
from support.memory import MemoryPeer, on_virtual_loop, settle

import hisock

QUESTION = b"$KEEPALIVE$"


def make(**options: Any) -> hisock.HiSockServer:
    options = {"announce": "none", "send_buffer": 100_000, "on_slow": "drop", **options}
    return hisock.HiSockServer(("127.0.0.1", 0), **options)


async def fall_behind(server: hisock.HiSockServer, peer: MemoryPeer) -> None:
    """Have a client read nothing until it is sent nothing more."""
    await settle()
    peer.transport.pause_reading()
    while not peer.connection.outbox.refusing:
        server.send_client(peer.addr, "fill", bytes(10_000))
        await settle()


def test_a_client_that_was_behind_when_it_was_asked_hears_the_question_later() -> None:
    async def main() -> None:
        server = make(keepalive_interval=10, keepalive_timeout=5)
        async with server:
            peer = MemoryPeer(server)
            await fall_behind(server, peer)
            await asyncio.sleep(12)
            peer.transport.resume_reading()
            await settle()
            assert peer.frames[-1] == (None, QUESTION)
            peer.raw(b"$KEEPACK$")
            await asyncio.sleep(7)
            assert server.stats().ended == {}
            assert len(server) == 1

    on_virtual_loop(main())


def test_a_call_to_a_client_that_is_behind_waits_and_does_not_say_that_it_is_gone() -> None:
    async def main() -> None:
        async with make(keepalive=False) as server:
            peer = MemoryPeer(server, features=["call"])
            await fall_behind(server, peer)
            asking = asyncio.ensure_future(server.call(peer.addr, "ping", timeout=30))
            await settle()
            assert not asking.done()
            peer.transport.resume_reading()
            await settle()
            (call,) = [each for each in peer.named(None) if each and each.startswith(b"$CALL$")]
            number = call.removeprefix(b"$CALL$").partition(b"$")[0]
            peer.raw(b"$REPLY$" + number + b"$MSG$pong")
            assert await asking == b"pong"

    on_virtual_loop(main())


def test_what_a_client_asks_while_it_is_behind_is_answered_in_order() -> None:
    async def main() -> None:
        async with make(keepalive=False) as server:
            peer, _ = MemoryPeer(server, "Ada"), MemoryPeer(server, "Bob")
            await fall_behind(server, peer)
            for name in (b"Bob", b"Nobody", b"Ada"):
                peer.raw(b"$GETCLT$" + name)
            await settle()
            server.send_client(peer.addr, "refused")
            peer.transport.resume_reading()
            await settle()
            server.send_client(peer.addr, "taken")
            await settle()
            *_, bob, nobody, ada = (json.loads(answer) for answer in peer.named(None) if answer)
            assert (bob["name"], nobody["traceback"], ada["name"]) == ("Bob", "$NOEXIST$", "Ada")
            assert peer.named("refused") == []
            assert peer.frames[-1][0] == "taken"
            assert server.stats().dropped >= 1

    on_virtual_loop(main())


def test_a_client_that_asks_and_never_reads_the_answers_is_ended() -> None:
    async def main() -> None:
        async with make(keepalive=False, send_buffer=50_000) as server:
            peer = MemoryPeer(server, "Ada")
            await fall_behind(server, peer)
            for _ in range(100):
                for _ in range(20):
                    peer.raw(b"$GETCLT$Ada")
                await settle()
            assert server.stats().ended == {"slow": 1}
            assert peer.connection.writer.backlog() < 50_000 + 200_000

    on_virtual_loop(main())


def test_a_client_that_is_behind_is_told_goodbye() -> None:
    async def main() -> None:
        async with make(keepalive=False) as server:
            peer = MemoryPeer(server)
            await fall_behind(server, peer)
            server.disconnect_client(peer.addr)
            peer.transport.resume_reading()
            await settle()
            assert peer.frames[-1] == (None, b"$DISCONN$")

    on_virtual_loop(main())


def test_the_last_frames_are_queued_though_the_policy_would_refuse_again() -> None:
    said: list[str | None] = [None, None, "drop"]

    def policy(client: hisock.ClientInfo, backlog: int) -> str | None:
        return said.pop(0) if said else "drop"

    async def main() -> None:
        async with make(keepalive=False, on_slow=policy) as server:
            peer, _ = MemoryPeer(server, "Ada"), MemoryPeer(server, "Bob")
            await settle()
            peer.transport.pause_reading()
            while not peer.connection.writer.paused:
                server.send_client(peer.addr, "fill", bytes(10_000))
                await settle()
            server.send_client(peer.addr, "state", b"newest", latest="state")
            await fall_behind(server, peer)
            assert said == []
            for name in (b"Bob", b"Nobody"):
                peer.raw(b"$GETCLT$" + name)
            await settle()
            # More than send_buffer waits, so that each frame from here on is over the limit.
            server.disconnect_client(peer.addr)
            peer.transport.resume_reading()
            await settle()
            *_, bob, nobody, goodbye = peer.named(None)
            assert (json.loads(bob or b"")["name"], goodbye) == ("Bob", b"$DISCONN$")
            assert json.loads(nobody or b"")["traceback"] == "$NOEXIST$"
            assert peer.named("state") == [b"newest"]

    on_virtual_loop(main())


@pytest.mark.parametrize("renamed", [False, True], ids=["at once", "after a rename"])
def test_a_busy_handler_delays_no_answer_but_to_what_depends_on_a_rename(renamed: bool) -> None:
    async def main() -> None:
        async with make(keepalive=False) as server:
            release = asyncio.Event()

            @server.on("work")
            async def work(client: hisock.ClientInfo) -> None:
                await release.wait()

            peer = MemoryPeer(server, "Ada")
            peer.send("work")
            if renamed:
                peer.raw(b"$CHNAME$Eva")
            peer.raw(b"$GETCLT$Eva" if renamed else b"$GETCLT$Ada")
            await settle()
            assert len(peer.named(None)) == (0 if renamed else 1)
            release.set()
            await settle()
            (answer,) = peer.named(None)
            assert json.loads(answer or b"")["name"] == ("Eva" if renamed else "Ada")

    on_virtual_loop(main())


def test_many_silent_clients_are_ended_a_few_in_each_turn_of_the_loop() -> None:
    async def main() -> None:
        server = make(keepalive_interval=10, keepalive_timeout=5)
        async with server:
            silent = [MemoryPeer(server, str(number)) for number in range(200)]
            await settle()
            assert len(server) == 200
            most = await most_in_a_turn(lambda: len(server))
            assert most <= 16
            assert all(peer.ended for peer in silent)

    on_virtual_loop(main())


def test_many_that_say_no_hello_are_ended_a_few_in_each_turn_of_the_loop() -> None:
    async def main() -> None:
        server = make(hello_timeout=5)
        async with server:
            peers = [MemoryPeer(server, None) for _ in range(200)]
            await settle()
            most = await most_in_a_turn(lambda: 200 - server.stats().ended.get("hello", 0))
            assert most <= 16
            assert all(peer.ended for peer in peers)

    on_virtual_loop(main())


async def most_in_a_turn(left: Callable[[], int]) -> int:
    """Wait until nothing is left; how much went in one turn of the loop at most."""
    counts: list[int] = []
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.after_each_turn = lambda: counts.append(left())
    await asyncio.sleep(20)
    assert (counts[0], counts[-1]) == (200, 0)
    return max(before - after for before, after in itertools.pairwise(counts))
