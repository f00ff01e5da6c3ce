"""Clients that give up or vanish: none stays behind, and nothing of theirs stays counted."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable

import pytest
from support import Events, command_frame
from support.polling import eventually

import hisock

from .conftest import MakeWebServer
from .web_peer import CLOSE, WebPeer, message

#: How a client goes.
ENDS: dict[str, Callable[[WebPeer], object]] = {
    "says that it closes": lambda peer: peer.say(message(struct.pack("!H", 1000), CLOSE)),
    "hangs up": lambda peer: peer.end_writing(),
    "is reset": lambda peer: peer.reset(),
}


@pytest.mark.parametrize("end", ENDS)
def test_who_gives_up_while_it_is_being_let_in_leaves_no_ghost(
    make_web_server: MakeWebServer, events: Events, end: str
) -> None:
    server = make_web_server(max_connections=1)

    @server.authenticate
    async def authenticate(token: str) -> None:
        events.add("asked", token)
        if token == "slow":
            await asyncio.Event().wait()

    server.start()
    with WebPeer(server.addr) as ghost:
        ghost.open()
        ghost.reserved("CLTHELLO", '{"name": "ghost", "group": null, "token": "slow"}')
        assert events.wait_for("asked") == ("asked", "slow")
        ENDS[end](ghost)
        eventually(lambda: not server.stats().connections, "its place is free")
        with WebPeer(server.addr) as ann:
            ann.open()
            ann.reserved("CLTHELLO", '{"name": "Ann", "group": null, "token": "quick"}')
            assert ann.ask("echo", "x").message == b"x"
            assert [client.name for client in server.get_all_clients()] == ["Ann"]


@pytest.mark.parametrize("end", ENDS)
def test_what_waited_for_a_handler_of_one_that_has_gone_is_in_no_account(
    make_web_server: MakeWebServer, events: Events, end: str
) -> None:
    server = make_web_server(max_buffered=8_000_000)
    go_on = asyncio.Event()

    @server.on("slow")
    async def slow(client: hisock.ClientInfo) -> None:
        events.add("slow")
        await go_on.wait()

    server.on("big")(lambda client, message: events.add("big"))
    server.start()
    for turn in range(1, 4):
        with WebPeer.in_web(server.addr, f"number {turn}") as peer:
            peer.write(command_frame("slow", ""))
            events.wait_for("slow", count=turn)
            for _ in range(60):
                peer.write(command_frame("big", bytes(50_000)))
            if end != "says that it closes":
                peer.say(message(command_frame("big", bytes(50_000)))[:-1])  # never complete
            eventually(lambda: server.stats().buffered_bytes > 3_000_000, "it waits")
            with contextlib.suppress(OSError):
                ENDS[end](peer)
            server._hub.loop.call_soon_threadsafe(go_on.set)
            eventually(lambda: not len(server), "it leaves")
            eventually(lambda: not server.stats().buffered_bytes, "nothing of it is counted")
            server._hub.thread.run(go_on.clear)
    assert not server.stats().ended.get("memory")
