"""Messages with ``latest``: counted like all that waits, written once, and few of them stale."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.fixtures import MakePeer, MakeServer
from support.memory import MemoryPeer, on_virtual_loop, settle
from support.polling import eventually

import hisock
from hisock._runtime.memory import MemoryTransport
from reliability.certificates import Authority

KIB = bytes(1024)


def make(**options: Any) -> hisock.HiSockServer:
    options = {"announce": "none", "keepalive": False, **options}
    return hisock.HiSockServer(("127.0.0.1", 0), **options)


async def pause(server: hisock.HiSockServer, peer: MemoryPeer) -> None:
    """Have a client read nothing until its transport takes no more."""
    await settle()
    peer.transport.pause_reading()
    while not peer.connection.writer.paused:
        server.send_client(peer.addr, "fill", KIB)
        await settle()


def test_newest_states_of_many_keys_count_in_what_may_wait() -> None:
    async def main() -> None:
        async with make(send_buffer=300_000) as server:
            peer = MemoryPeer(server)
            await pause(server, peer)
            before = server.backlog(peer.addr)
            server.send_client(peer.addr, "state", KIB, latest="one")
            grown = server.backlog(peer.addr) - before
            assert grown > len(KIB)
            assert server.stats().queued_bytes == before + grown
            server.send_client(peer.addr, "state", KIB, latest="one")
            assert server.backlog(peer.addr) == before + grown, "in place of the other"
            for number in range(1000):
                if peer.connection.ended:
                    break
                server.send_client(peer.addr, "state", KIB, latest=f"key {number}")
                assert server.backlog(peer.addr) < 310_000
                await asyncio.sleep(0)
            assert server.stats().ended == {"slow": 1}

    on_virtual_loop(main())


def test_newest_states_that_are_dropped_are_counted_and_known_keys_stay_new() -> None:
    async def main() -> None:
        async with make(send_buffer=100_000, on_slow="drop") as server:
            peer = MemoryPeer(server)
            await pause(server, peer)
            for number in range(200):
                server.send_client(peer.addr, "state", b"old" + KIB, latest=f"key {number}")
            dropped = server.stats().dropped
            assert 0 < dropped < 200
            assert server.backlog(peer.addr) < 110_000
            server.send_client(peer.addr, "state", b"new" + KIB, latest="key 0")
            assert server.stats().dropped == dropped
            peer.transport.resume_reading()
            await settle()
            states = peer.named("state")
            assert len(states) == 200 - dropped
            assert states[0] == b"new" + KIB
            figures = server.stats()
            assert figures.queued_bytes == 0
            # The question of the hello's answer is not asked: every frame that came was counted.
            assert figures.messages_out == len(peer.frames)

    on_virtual_loop(main())


def test_a_broadcast_of_newest_states_is_written_once_to_every_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writes: list[object] = []
    write = MemoryTransport.write

    def counted(self: MemoryTransport, data: bytes) -> None:
        writes.append(self)
        write(self, data)

    monkeypatch.setattr(MemoryTransport, "write", counted)

    async def main() -> None:
        async with make() as server:
            peers = [MemoryPeer(server, str(number)) for number in range(50)]
            await settle()
            writes.clear()
            server.send_all_clients("state", b"1", latest="state")
            await settle()
            assert len(set(writes)) == len(writes) == 50
            assert all(peer.named("state") == [b"1"] for peer in peers)

    on_virtual_loop(main())


def test_newest_states_from_a_thread_wake_the_loop_once_for_all_clients(
    make_server: MakeServer,
    make_peer: MakePeer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = make_server(announce="group", loop="asyncio")
    server.start()
    peers = [make_peer(server, group=str(number)) for number in range(100)]
    eventually(lambda: len(server) == 100, "all join")
    loop = server._hub.loop
    wake = loop.call_soon_threadsafe
    woken: list[Any] = []

    def counted(*args: Any, **more: Any) -> Any:
        woken.append(args)
        return wake(*args, **more)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    server.send_all_clients("state", b"1", latest="state")
    for peer in peers:
        assert peer.read().command == "state"
    # Not one a client. The loop may catch up with the thread, which wakes it again then.
    assert len(woken) <= 50


@pytest.mark.parametrize("ahead", [1, 2])
def test_a_client_that_stops_reads_few_stale_states(ahead: int) -> None:
    """20 a second, for 6 seconds: without the option, the system keeps all 120 for it."""

    async def main() -> None:
        async with make(latest_ahead=ahead) as server:
            peer = MemoryPeer(server)
            await settle()
            peer.transport.pause_reading()
            for number in range(120):
                server.send_all_clients("state", b"%03d" % number + KIB, latest="state")
                await asyncio.sleep(1 / 20)
            peer.transport.resume_reading()
            await settle()
            assert [(state or b"")[:3] for state in peer.named("state")] == [
                b"%03d" % number for number in range(ahead)
            ]
            for _ in range(ahead):
                peer.raw(b"$KEEPACK$")
            await settle()
            assert (peer.named("state")[-1] or b"")[:3] == b"119"
            assert len(peer.named("state")) == ahead + 1

    on_virtual_loop(main())


@pytest.mark.parametrize("over", ["TCP", "TLS"])
def test_a_client_that_stops_on_a_real_connection_reads_few_stale_states(
    make_server: MakeServer, authority: Authority, over: str
) -> None:
    """As many as are sent in 6 seconds at 20 Hz; each is handed to the system if it may be."""
    files = (authority.server, authority.server) if over == "TLS" else None
    server = make_server(latest_ahead=2, ssl=files)
    server.start()
    heard: list[int] = []
    context = authority.context() if over == "TLS" else None
    with hisock.connect(
        server.addr, "Ada", ssl=context, server_hostname="localhost" if context else None
    ) as client:
        client.on("state")(lambda message: heard.append(int(bytes(message)[:3])))
        eventually(lambda: len(server) == 1, "it joins")
        for number in range(120):
            server.send_all_clients("state", b"%03d" % number + KIB, latest="state")
            for _ in range(3):  # iterations of the loop, in which it is flushed
                server._hub.thread.run(lambda: None)
        while 119 not in heard:
            client.update()
    assert len(heard) <= 5
    assert heard == sorted(heard)
