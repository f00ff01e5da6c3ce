"""Client info, names, groups, look-ups, and whom a send reaches."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest
from support import Events, Peer
from support.fixtures import MakeClient, MakePeer, MakeServer

import hisock
from hisock import ClientInfo
from hisock.utils import ClientNotFound, GroupNotFound


@pytest.fixture
def server(make_server: MakeServer) -> hisock.ThreadedHiSockServer:
    server = make_server()
    server.start()
    return server


# Look-ups


def test_a_client_is_found_by_everything_that_names_it(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    peer = make_peer(server, "ann", "red")
    make_peer(server, "bob")
    info = ClientInfo(peer.addr, "ann", "red")
    names: list[Any] = [info, peer.addr, peer.ip, "ann", server.get_client("ann")]
    for number, who in enumerate(names, start=1):
        assert server.get_client(who) == info
        server.send_client(who, "found", number)
        assert peer.wait_for("found").message == str(number).encode()


def test_client_info_of_before_a_change_still_names_the_client(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, events: Events
) -> None:
    server.on("name_change")(lambda client, old, new: events.add(new))
    peer = make_peer(server, "ann", "red")
    before = server.get_client("ann")
    peer.reserved("CHNAME", "bob")
    events.wait_for("bob")
    server.send_client(before, "still", "you")
    assert peer.wait_for("still").message == b"you"
    assert before.name == "ann"
    with pytest.raises(ClientNotFound):
        server.get_client("ann")
    assert server.get_client("bob").addr == before.addr


def test_unknown_clients_and_groups_are_errors(server: hisock.ThreadedHiSockServer) -> None:
    gone = ClientInfo("127.0.0.1:1", "gone", None)
    for who in (gone, "nobody", ("127.0.0.1", 1), "127.0.0.1:1"):
        for call in (
            lambda who: server.send_client(who, "x"),
            lambda who: server.get_client(who),
            lambda who: server.disconnect_client(who),
        ):
            with pytest.raises(ClientNotFound):
                call(who)
    with pytest.raises(GroupNotFound):
        server.get_group("nobody's")


def test_a_client_that_left_is_not_found(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, events: Events
) -> None:
    server.on("leave")(lambda client: events.add("leave", client))
    with make_peer(server, "ann", "red") as peer:
        info = server.get_client("ann")
    events.wait_for("leave", info)
    for who in (info, "ann", peer.addr):
        with pytest.raises(ClientNotFound):
            server.send_client(who, "x")
    assert server.send_group("red", "x") == 0
    assert server.send_all_clients("x") == 0
    assert len(server) == 0


def test_of_several_with_a_name_the_one_that_joined_first_is_taken_with_a_warning(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, events: Events
) -> None:
    server.on("name_change")(lambda client, old, new: events.add(client.addr, new))
    first = make_peer(server, "other")
    second, third = make_peer(server, "twin"), make_peer(server, "twin")
    with pytest.warns(UserWarning, match="several clients have the name"):
        assert server.get_client("twin").addr == second.addr
    # The order is that of joining, not that of taking the name.
    first.reserved("CHNAME", "twin")
    events.wait_for(first.addr, "twin")
    with pytest.warns(UserWarning, match="several clients have the name"):
        server.send_client("twin", "x")
    first.wait_for("x")
    second.reserved("CHNAME", "solo")
    third.reserved("CHNAME", "other")
    events.wait_for(third.addr, "other")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert server.get_client("twin").addr == first.addr
        assert server.get_client("solo").addr == second.addr


def test_all_clients_are_listed_in_the_order_they_joined(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    assert server.get_all_clients() == []
    peers = [make_peer(server, name, group) for name, group in (("a", "x"), ("b", None))]
    peers.append(make_peer(server, None, "x"))
    infos = [
        ClientInfo(peers[0].addr, "a", "x"),
        ClientInfo(peers[1].addr, "b", None),
        ClientInfo(peers[2].addr, None, "x"),
    ]
    assert server.get_all_clients() == infos
    assert server.get_all_clients("name") == ["a", "b", None]
    assert server.get_all_clients("group") == ["x", None, "x"]
    assert server.get_all_clients("ip") == [peer.ip for peer in peers]
    assert server.get_all_clients(lambda info: info["group"] == "x") == [infos[0], infos[2]]
    assert server.get_all_clients(lambda info: info.name is None) == [infos[2]]
    assert server.get_group("x") == [infos[0], infos[2]]
    assert len(server) == len(server.clients) == 3
    assert server.get_addr() == server.addr


def test_a_server_without_clients_is_still_true(server: hisock.ThreadedHiSockServer) -> None:
    assert len(server) == 0
    assert server


def test_a_client_asks_who_others_are(
    server: hisock.ThreadedHiSockServer, make_client: MakeClient, make_peer: MakePeer
) -> None:
    peer = make_peer(server, "ann", "red")
    info = ClientInfo(peer.addr, "ann", "red")
    started = make_client(server)
    started.start()
    with hisock.connect(server.addr) as plain:
        for client in (started, plain):
            for who in ("ann", peer.addr, peer.ip, info):
                assert client.get_client(who) == info
            as_dict = client.get_client("ann", get_as_dict=True)
            assert isinstance(as_dict, dict)
            assert as_dict["name"] == "ann"
            assert hisock.iptup_to_str(as_dict["ip"]) == peer.ip
            for who in ("nobody", ("127.0.0.1", 1), "127.0.0.1:1"):
                with pytest.raises(ClientNotFound):
                    client.get_client(who)
            assert client.get_server_addr() == server.addr
        assert server.get_client(plain.get_client_addr()).name is None


def test_many_questions_at_once_get_each_its_answer(
    server: hisock.ThreadedHiSockServer,
    make_client: MakeClient,
    make_peer: MakePeer,
    events: Events,
) -> None:
    peers = {f"n{number}": make_peer(server, f"n{number}") for number in range(10)}
    client = make_client(server)
    client.start()

    def ask(name: str) -> None:
        for _ in range(20):
            info = client.get_client(name)
            assert isinstance(info, ClientInfo)
            assert info.addr == peers[name].addr
        events.add("done", name)

    for name in peers:
        threading.Thread(target=ask, args=(name,), daemon=True).start()
    events.wait_for("done", count=10)


# Whom a send reaches


def test_a_group_gets_what_is_sent_to_it_and_nobody_else_does(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    red = [make_peer(server, f"red {number}", "red") for number in range(3)]
    blue = [make_peer(server, f"blue {number}", "blue") for number in range(2)]
    assert server.send_group("red", "news", "red") == 3
    assert server.send_group(ClientInfo(blue[0].addr, "blue 0", "blue"), "news", "blue") == 2
    assert server.send_group("green", "news", "green") == 0
    assert server.send_all_clients("news", "all") == 5
    for peers, colour in ((red, b"red"), (blue, b"blue")):
        for peer in peers:
            assert [peer.wait_for("news").message for _ in range(2)] == [colour, b"all"]


def test_a_client_in_no_group_has_no_group_to_send_to(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    make_peer(server, "loner")
    with pytest.raises(TypeError):
        server.send_group(server.get_client("loner"), "news")


def test_moving_changes_whom_a_group_is(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    server = make_server()
    server.on("join")(lambda client: events.add("join"))
    server.on("group_change")(lambda client, old, new: events.add("moved", client.name, new))
    server.start()
    clients = {name: make_client(server, name, "red") for name in ("ann", "bob")}
    for name, client in clients.items():
        client.on("news")(lambda text, name=name: events.add(name, text))
        client.start()
    events.wait_for("join", count=2)
    clients["ann"].change_group("blue")
    events.wait_for("moved", "ann", "blue")
    assert server.send_group("red", "news", "r") == 1
    assert server.send_group("blue", "news", "b") == 1
    events.wait_for("bob", b"r")
    events.wait_for("ann", b"b")
    clients["ann"].change_group(None)
    events.wait_for("moved", "ann", "red")
    assert server.send_group("red", "news", "both") == 2
    with pytest.raises(GroupNotFound):
        server.get_group("blue")


def test_a_name_that_looks_like_an_address_does_not_hide_that_address(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    victim = make_peer(server, "victim")
    make_peer(server, victim.ip)
    assert server.get_client(victim.ip).name == "victim"


@pytest.mark.parametrize("side", ["server", "client"])
def test_sends_from_many_threads_keep_each_threads_order(
    make_server: MakeServer, make_client: MakeClient, events: Events, side: str
) -> None:
    threads, count = 8, 500
    received: dict[int, list[int]] = {number: [] for number in range(threads)}

    def record(pair: list[int]) -> None:
        received[pair[0]].append(pair[1])
        if pair[1] == count - 1:
            events.add("last of", pair[0])

    server = make_server()

    @server.on("pair")
    def on_server(client: ClientInfo, pair: list[int]) -> None:
        record(pair)

    server.start()
    client = make_client(server, "ann")
    client.on("pair")(record)

    def record_annotated(pair: list[int]) -> None:
        record(pair)

    client.on("pair")(record_annotated)
    client.start()
    with Peer.joined(server.addr):
        pass

    def send(thread: int) -> None:
        for number in range(count):
            if side == "server":
                server.send_client("ann", "pair", [thread, number])
            else:
                client.send("pair", [thread, number])

    for thread in range(threads):
        threading.Thread(target=send, args=(thread,), daemon=True).start()
    events.wait_for("last of", count=threads)
    assert all(numbers == list(range(count)) for numbers in received.values())


def test_what_a_thread_sends_before_it_disconnects_arrives(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    peer = make_peer(server, "ann")
    server.send_client("ann", "last words", "farewell")
    server.disconnect_client("ann")
    assert [frame.payload for frame in peer.rest()] == [
        b"$CMD$last words$MSG$farewell",
        b"$DISCONN$",
    ]


# Disconnecting


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("call_func", [False, True])
def test_disconnecting_one_client_leaves_the_others(
    server: hisock.ThreadedHiSockServer,
    make_peer: MakePeer,
    events: Events,
    force: bool,
    call_func: bool,
) -> None:
    server.on("leave")(lambda client: events.add("leave", client.name))
    other, victim = make_peer(server, "other"), make_peer(server, "victim")
    server.disconnect_client("victim", force=force, call_func=call_func)
    assert [frame.reserved for frame in victim.rest()] == ([] if force else ["DISCONN"])
    gone = other.wait_for(lambda frame: frame.reserved == "CLTDISCONN").json
    assert gone == {"ip": list(victim.addr), "name": "victim", "group": None}
    assert server.get_all_clients("name") == ["other"]
    other.close()
    events.wait_for("leave", "other")
    assert (("leave", "victim") in events.seen) == call_func


@pytest.mark.parametrize("force", [False, True])
def test_disconnecting_all_leaves_the_server_running(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, force: bool
) -> None:
    peers = [make_peer(server) for _ in range(5)]
    server.disconnect_all_clients(force=force)
    for peer in peers:
        told = [frame.reserved for frame in peer.rest() if frame.reserved != "CLTCONN"]
        assert told == ([] if force else ["DISCONN"])
    assert len(server) == 0
    make_peer(server, "new")
    assert server.get_all_clients("name") == ["new"]


def test_max_connections_refuses_whoever_is_too_many(make_server: MakeServer) -> None:
    server = make_server(max_connections=2)
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    with Peer.joined(server.addr, "1") as first, Peer.joined(server.addr, "2") as second:
        with Peer(server.addr) as third:
            third.hello("3")
            assert "CLTCONN" not in [frame.reserved for frame in third.rest()]
        for peer in (first, second):
            peer.ask("ping", answer="pong")
        assert sorted(server.get_all_clients("name")) == ["1", "2"]
        second.reserved("USRCLOSE")
        second.rest()
    with Peer.joined(server.addr, "4") as fourth:
        fourth.ask("ping", answer="pong")
