"""``server.session(client)``: what a program keeps for a connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from support import Events
from support.fixtures import MakePeer, MakeServer

import hisock

from .loops import LOOPBACK, Seen, on_loops, within


@dataclass
class Player:
    points: int = 0
    items: list[str] = field(default_factory=list)


@on_loops
async def test_a_session_is_a_dict_of_one_connection() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("score")
        def score(client: hisock.ClientInfo, points: int) -> int:
            session = server.session(client)
            session["points"] = session.get("points", 0) + points
            total: int = session["points"]
            return total

        async with (
            await hisock.async_connect(server.addr, "Ada") as ada,
            await hisock.async_connect(server.addr, "Bob") as bob,
        ):
            assert [await ada.call("score", n, int) for n in (1, 2, 3)] == [1, 3, 6]
            assert await bob.call("score", 5, int) == 5
            session = server.session("Ada")
            assert session == {"points": 6}
            (info,) = [info for info in server.get_all_clients() if info.name == "Ada"]
            for who in (info, info.ip, info.addr):
                assert server.session(who) is session
            # It stays when the client gets another name.
            ada.change_name("Countess")
            assert await ada.call("score", 1, int) == 7
            assert server.session("Countess") is session


@on_loops
async def test_a_session_may_be_of_a_class_of_ones_own() -> None:
    async with hisock.HiSockServer(LOOPBACK, session=Player) as server:

        @server.on("join")
        def join(client: hisock.ClientInfo) -> None:
            server.session(client).items.append("map")

        @server.on("take")
        async def take(client: hisock.ClientInfo, item: str) -> list[str]:
            player: Player = server.session(client)
            player.items.append(item)
            return player.items

        async with await hisock.async_connect(server.addr) as client:
            assert await client.call("take", "lamp", list[str]) == ["map", "lamp"]
            async with await hisock.async_connect(server.addr) as other:
                assert await other.call("take", "rope", list[str]) == ["map", "rope"]


def test_a_session_is_made_once_and_only_when_asked_for(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    made: list[Player] = []

    def new_player() -> Player:
        made.append(Player())
        return made[-1]

    server = make_server(session=new_player)
    server.start()
    make_peer(server, "Ada")
    make_peer(server, "Bob")
    assert made == []
    assert server.session("Ada") is server.session("Ada")
    assert len(made) == 1


def test_a_client_that_comes_back_begins_anew(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("leave")(lambda client: events.add("leave", client))
    server.start()
    peer = make_peer(server, "Ada")
    server.session("Ada")["points"] = 6
    peer.close()
    info = events.wait_for("leave")[1]
    for who in ("Ada", info, info.ip):
        with pytest.raises(hisock.ClientNotFound):
            server.session(who)
    make_peer(server, "Ada")
    assert server.session("Ada") == {}


def test_a_session_that_cannot_be_made_is_told_where_it_was_asked_for(
    make_server: MakeServer, make_peer: MakePeer
) -> None:
    def fail() -> Any:
        raise RuntimeError("no more players")

    server = make_server(session=fail)
    server.start()
    make_peer(server, "Ada")
    with pytest.raises(RuntimeError, match="no more players"):
        server.session("Ada")


@on_loops
async def test_the_leave_handler_still_has_the_session_and_the_rooms() -> None:
    """What a program saves of a player, it saves when the player leaves."""
    saved = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("score")
        def score(client: hisock.ClientInfo, points: int) -> None:
            server.session(client)["points"] = points
            server.join_room(client, f"{client.name}'s room")

        @server.on("leave")
        def leave(client: hisock.ClientInfo) -> None:
            try:
                points, (room,) = server.session(client)["points"], server.rooms(client)
                saved.add("saved", client.name, points, room, server.get_room(room))
            except hisock.ClientNotFound as exc:
                saved.add("saved", client.name, exc)

        for name, points in (("Ada", 5), ("Bob", 7)):
            client = await hisock.async_connect(server.addr, name)
            await client.call("score", points)
            await within(client.close())
        await saved.until_named("saved", 2)
    assert saved.named("saved") == [("Ada", 5, "Ada's room", []), ("Bob", 7, "Bob's room", [])]
