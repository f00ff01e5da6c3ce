"""Rooms: many per client, beside its one group."""

from __future__ import annotations

from typing import Any

import pytest
from support import Events, Peer
from support.fixtures import MakePeer, MakeServer

import hisock

from .loops import LOOPBACK, Seen, on_loops, within


@pytest.fixture
def server(make_server: MakeServer, events: Events) -> hisock.ThreadedHiSockServer:
    made = make_server()
    made.on("leave")(lambda client: events.add("leave", client.name))
    made.on("name_change")(lambda client, old, new: events.add("renamed", new))
    made.start()
    return made


def heard(peer: Peer, server: hisock.HiSockServer) -> list[tuple[str | None, bytes | None]]:
    """The commands that a peer has been sent so far."""
    server.send_client(peer.addr, "over")
    commands: list[tuple[str | None, bytes | None]] = []
    while (frame := peer.read()).command != "over":
        if frame.command is not None:
            commands.append((frame.command, frame.message))
    return commands


def test_a_client_may_be_in_many_rooms(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    ada, bob, eve = (make_peer(server, name, "group") for name in ("Ada", "Bob", "Eve"))
    for room in ("kitchen", "garden", "cellar"):
        server.join_room("Ada", room)
    server.join_room("Bob", "garden")
    server.join_room(bob.addr, "garden")  # twice is once
    assert server.rooms("Ada") == {"kitchen", "garden", "cellar"}
    assert server.rooms(server.get_client("Bob")) == {"garden"}
    assert server.rooms("Eve") == set()
    assert [info.name for info in server.get_room("garden")] == ["Ada", "Bob"]
    assert server.get_room("attic") == []
    assert server.get_client("Ada").group == "group"

    assert server.send_room("kitchen", "to", "kitchen") == 1
    assert server.send_room("garden", "to", "garden") == 2
    assert server.send_room("attic", "to", "attic") == 0
    assert server.send_group("group", "to", "group") == 3
    assert heard(ada, server) == [("to", b"kitchen"), ("to", b"garden"), ("to", b"group")]
    assert heard(bob, server) == [("to", b"garden"), ("to", b"group")]
    assert heard(eve, server) == [("to", b"group")]


def test_exclude_leaves_one_client_out(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    peers = [make_peer(server, name) for name in ("Ada", "Bob", "Eve")]
    for name in ("Ada", "Bob"):
        server.join_room(name, "lobby")
    ada = server.get_client("Ada")
    for who in ("Ada", ada, ada.ip, ada.addr):
        assert server.send_room("lobby", "said", "x", exclude=who) == 1
    assert server.send_room("lobby", "said", "y", exclude="Eve") == 2
    assert server.send_room("lobby", "said", "z", exclude="nobody") == 2
    assert server.send_room("attic", "said", "z", exclude="Ada") == 0
    assert heard(peers[0], server) == [("said", b"y"), ("said", b"z")]
    assert heard(peers[1], server) == [("said", b"x")] * 4 + [("said", b"y"), ("said", b"z")]
    assert heard(peers[2], server) == []


def test_who_left_a_room_hears_no_more_of_it(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    ada = make_peer(server, "Ada")
    server.join_room("Ada", "kitchen")
    server.join_room("Ada", "garden")
    server.leave_room("Ada", "kitchen")
    server.leave_room("Ada", "kitchen")
    server.leave_room("Ada", "never was there")
    assert server.rooms("Ada") == {"garden"}
    assert server.send_room("kitchen", "to", "kitchen") == 0
    assert server.send_room("garden", "to", "garden") == 1
    assert heard(ada, server) == [("to", b"garden")]
    server.join_room("Ada", "kitchen")
    assert server.send_room("kitchen", "to", "kitchen") == 1


@pytest.mark.parametrize("way", ["goodbye", "end", "reset", "kick", "kick hard", "bad frame"])
def test_who_leaves_the_server_leaves_all_rooms(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, events: Events, way: str
) -> None:
    make_peer(server, "Bob")
    server.join_room("Bob", "room 0")
    ada = make_peer(server, "Ada")
    for number in range(100):
        server.join_room("Ada", f"room {number}")
    if way == "goodbye":
        ada.reserved("USRCLOSE")
    elif way == "end":
        ada.close()
    elif way == "reset":
        ada.reset()
    elif way == "bad frame":
        ada.write(b"x" * 16)
    else:
        server.disconnect_client("Ada", force=way == "kick hard", call_func=True)
    events.wait_for("leave", "Ada")
    assert [server.send_room(f"room {number}", "x") for number in range(100)] == [1] + [0] * 99
    assert server._registry.rooms.by_name.keys() == {"room 0"}, "empty rooms are forgotten"
    with pytest.raises(hisock.ClientNotFound):
        server.rooms("Ada")


def test_a_client_that_comes_back_is_in_no_room(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, events: Events
) -> None:
    peer = make_peer(server, "Ada")
    server.join_room("Ada", "lobby")
    peer.close()
    events.wait_for("leave", "Ada")
    make_peer(server, "Ada")
    assert server.rooms("Ada") == set()
    assert server.send_room("lobby", "x") == 0


def test_renaming_and_moving_change_no_rooms(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, events: Events
) -> None:
    ada = make_peer(server, "Ada", "red")
    server.join_room("Ada", "lobby")
    ada.reserved("CHGROUP", "blue")
    ada.reserved("CHNAME", "Countess")
    events.wait_for("renamed", "Countess")
    assert server.rooms("Countess") == {"lobby"}
    assert [(info.name, info.group) for info in server.get_room("lobby")] == [("Countess", "blue")]
    assert server.send_room("lobby", "x", exclude="Countess") == 0
    assert server.send_room("lobby", "x") == 1


def test_a_room_and_a_group_of_one_name_are_two_things(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    ada, bob = make_peer(server, "Ada", "red"), make_peer(server, "Bob")
    server.join_room("Bob", "red")
    assert server.send_room("red", "room") == 1
    assert server.send_group("red", "group") == 1
    assert heard(ada, server) == [("group", None)]
    assert heard(bob, server) == [("room", None)]


@pytest.mark.parametrize("name", ["x" * 1025, "x" * 1024 * 1024])
def test_a_room_name_that_is_too_long_is_refused(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, name: str
) -> None:
    make_peer(server, "Ada")
    with pytest.raises(ValueError, match="1024"):
        server.join_room("Ada", name)
    assert server.rooms("Ada") == set()
    server.leave_room("Ada", name)
    assert server.send_room(name, "x") == 0
    assert server.get_room(name) == []


@pytest.mark.parametrize("name", ["x" * 1024, " ", "$MSG$", "räume\N{PARTY POPPER}", "\0", "a\nb"])
def test_any_other_text_may_be_a_rooms_name(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, name: str
) -> None:
    ada = make_peer(server, "Ada")
    server.join_room("Ada", name)
    assert server.rooms("Ada") == {name}
    assert server.send_room(name, "x") == 1
    assert heard(ada, server) == [("x", None)]


def test_rooms_of_clients_that_are_not_there(server: hisock.ThreadedHiSockServer) -> None:
    for act in (server.join_room, server.leave_room):
        with pytest.raises(hisock.ClientNotFound):
            act("nobody", "lobby")
    with pytest.raises(hisock.ClientNotFound):
        server.rooms("nobody")


def test_what_cannot_be_sent_is_told_though_the_room_is_empty(
    server: hisock.ThreadedHiSockServer,
) -> None:
    with pytest.raises(TypeError):
        server.send_room("attic", "x", object())
    with pytest.raises(ValueError, match=r"\$"):
        server.send_room("attic", "$x$")


@on_loops
async def test_rooms_change_in_handlers_and_joining() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        seen = Seen()

        @server.on("join")
        def join(client: hisock.ClientInfo) -> None:
            server.join_room(client, "lobby")

        @server.on("enter")
        async def enter(client: hisock.ClientInfo, room: str) -> list[str]:
            server.leave_room(client, "lobby")
            server.join_room(client, room)
            server.send_room(room, "entered", client.name, exclude=client)
            return sorted(info.name or "" for info in server.get_room(room))

        @server.on("leave")
        def leave(client: hisock.ClientInfo) -> None:
            seen.add("left", client.name, server.send_room("game", "left", client.name))

        clients = [await hisock.async_connect(server.addr, name) for name in ("Ada", "Bob", "Eve")]
        names: list[Any] = [await client.call("enter", "game", list[str]) for client in clients]
        assert names == [["Ada"], ["Ada", "Bob"], ["Ada", "Bob", "Eve"]]
        assert [await clients[0].recv("entered", str, 10) for _ in range(2)] == ["Bob", "Eve"]
        assert server.send_room("lobby", "x") == 0
        for client in clients:
            await within(client.close())
        await seen.until_named("left", 3)
        assert seen.named("left") == [("Ada", 2), ("Bob", 1), ("Eve", 0)]
