"""What a server and a client put on the wire, and what they make of what they find there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support import Events, Peer, command_frame, frame
from support.fixtures import MakePeer, MakeServer
from support.wire import listening

import hisock

ThreadedServer = hisock.ThreadedHiSockServer
ThreadedClient = hisock.ThreadedHiSockClient


@pytest.fixture
def dial(closing: Any) -> Callable[..., tuple[hisock.HiSockClient, Peer]]:
    """A client, and the raw peer that plays its server."""

    def connect(**options: Any) -> tuple[hisock.HiSockClient, Peer]:
        listener = closing.enter_context(listening())
        client = hisock.HiSockClient(listener.getsockname(), **options)
        closing.callback(client.close)
        peer = Peer(("", 0), options.get("header_len", 16), listener.accept()[0])
        closing.enter_context(peer)
        return client, peer

    return connect


@pytest.fixture
def server(make_server: MakeServer) -> ThreadedServer:
    server = make_server()
    server.start()
    return server


# The client's side


def test_a_client_says_hello_first(dial: Callable[..., Any]) -> None:
    _, peer = dial(name="alice", group="red")
    hello = peer.read()
    assert hello.reserved == "CLTHELLO"
    # 2.0.2 ignores the keys that it does not know.
    assert (hello.json["name"], hello.json["group"]) == ("alice", "red")


def test_a_client_without_name_and_group_says_null(dial: Callable[..., Any]) -> None:
    _, peer = dial()
    hello = peer.read().json
    assert (hello["name"], hello["group"]) == (None, None)


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (None, b"$CMD$x"),
        (b"", b"$CMD$x$MSG$"),
        ("", b"$CMD$x$MSG$"),
        (b"\x00$MSG$\xff", b"$CMD$x$MSG$\x00$MSG$\xff"),
        ("ඞ", b"$CMD$x$MSG$" + "ඞ".encode()),
        (0, b"$CMD$x$MSG$0"),
        (-12, b"$CMD$x$MSG$-12"),
        (1.5, b"$CMD$x$MSG$1.5"),
        (True, b"$CMD$x$MSG$true"),
        (False, b"$CMD$x$MSG$false"),
        ([], b"$CMD$x$MSG$[]"),
        ({}, b"$CMD$x$MSG${}"),
        (bytearray(b"ab"), b"$CMD$x$MSG$ab"),
    ],
)
def test_send_writes_what_the_contract_says(
    dial: Callable[..., Any], content: Any, sent: bytes
) -> None:
    client, peer = dial()
    peer.read()
    peer.reserved("SRVHELLO", '{"features": ["call"], "codec": "json"}')
    client.send("x", content)
    assert peer.read().payload == sent


FALSY = [0, 0.0, -0.0, False, [], {}, ()]


@pytest.mark.parametrize("first", FALSY, ids=repr)
def test_falsy_values_go_to_servers_of_2_0_2_as_empty_messages(
    dial: Callable[..., Any], first: Any
) -> None:
    """Their text ends a server of 2.0.2; this is what a client of 2.0.2 sends."""
    client, peer = dial()
    peer.read()
    peer.reserved("CLTCONN", '{"ip": ["127.0.0.1", 1], "name": null, "group": null}')
    send_falsy(client, peer, first)


def test_a_server_that_says_nothing_is_taken_for_one_of_2_0_2(dial: Callable[..., Any]) -> None:
    """After the second that such a value waits for its greeting."""
    client, peer = dial()
    peer.read()
    send_falsy(client, peer, 0)


def send_falsy(client: hisock.HiSockClient, peer: Peer, content: Any) -> None:
    client.send("x", content)
    client.send("y", "0")
    assert peer.read().payload == b"$CMD$x$MSG$"
    assert peer.read().payload == b"$CMD$y$MSG$0"


def test_a_client_renames_moves_and_leaves(dial: Callable[..., Any]) -> None:
    client, peer = dial(name="alice", group="red")
    peer.read()
    client.change_name("bob")
    client.change_group("blue")
    client.change_name(None)
    client.change_group(None)
    peer.end_writing()
    client.close()
    payloads = [got.payload for got in peer.rest()]
    assert payloads[:2] == [b"$CHNAME$bob", b"$CHGROUP$blue"]
    # "Empty resets"; a name sent in full would do the same, and is what 2.0.2 sends.
    assert payloads[2] in (b"$CHNAME$", b"$CHNAME$alice")
    assert payloads[3] in (b"$CHGROUP$", b"$CHGROUP$red")
    assert payloads[4:] == [b"$USRCLOSE$"]


def test_close_without_emit_leave_says_nothing(dial: Callable[..., Any]) -> None:
    client, peer = dial()
    peer.read()
    peer.end_writing()
    client.close(emit_leave=False)
    assert peer.rest() == []


def test_a_client_that_is_not_started_answers_keepalives_when_it_updates(
    dial: Callable[..., Any],
) -> None:
    client, peer = dial()
    peer.read()
    peer.reserved("KEEPALIVE")
    while True:
        client.update()
        try:
            assert peer.read(timeout=0.05).reserved == "KEEPACK"
        except TimeoutError:
            continue
        break


@pytest.mark.parametrize("header_len", [4, 8, 20])
def test_both_sides_take_another_header_length(
    make_server: MakeServer, make_client: Callable[..., ThreadedClient], header_len: int
) -> None:
    server = make_server(header_len=header_len)
    server.on("echo")(lambda client, data: server.send_client(client, "echo", data))
    server.start()
    client = make_client(server, header_len=header_len)
    client.start()
    client.send("echo", b"hello")
    assert client.recv("echo", timeout=15) == b"hello"


def test_header_len_is_1_to_20(make_server: MakeServer) -> None:
    for wrong in (0, 21, -1):
        with pytest.raises(ValueError, match="header_len"):
            make_server(header_len=wrong)


def test_a_server_that_sends_garbage_ends_the_client(dial: Callable[..., Any]) -> None:
    client, peer = dial()
    peer.write(b"what is this?   ")
    with pytest.raises(hisock.utils.ServerNotRunning, match="byte 0"):
        client.start()
    assert client.closed


def test_what_came_before_garbage_is_handled(dial: Callable[..., Any], events: Events) -> None:
    client, peer = dial()
    client.on("number")(lambda number: events.add(number))
    peer.write(command_frame("number", "1") + command_frame("number", "2") + b"?" * 16)
    with pytest.raises(hisock.utils.ServerNotRunning):
        client.start()
    assert events.seen == [(b"1",), (b"2",)]


@pytest.mark.parametrize("reserved", ["client_connect", "client_disconnect", "force_disconnect"])
def test_a_reserved_name_sent_as_a_command_does_not_fire_the_clients_event(
    dial: Callable[..., Any], events: Events, reserved: str
) -> None:
    client, peer = dial()
    if reserved == "force_disconnect":
        client.on(reserved)(lambda: events.add(reserved))
    else:
        client.on(reserved)(lambda info: events.add(reserved))
    client.on("*")(lambda command, message: events.add("*", command))
    peer.send(reserved, "pretending")
    peer.reserved("DISCONN")
    peer.end_writing()
    client.start()
    expected: list[Any] = [("*", reserved.encode())]
    if reserved == "force_disconnect":
        expected.append((reserved,))
    assert [tuple(map(_as_bytes, event)) for event in events.seen] == [
        tuple(map(_as_bytes, event)) for event in expected
    ]


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


# The server's side


def test_everybody_is_told_who_joined_and_who_left(
    server: ThreadedServer, make_peer: MakePeer
) -> None:
    first = make_peer(server, "first", "red")
    with Peer(server.addr) as second:
        second.hello("second", None)
        info = {"ip": list(second.addr), "name": "second", "group": None}
        for peer in (first, second):
            got = peer.wait_for(lambda f: f.reserved == "CLTCONN" and f.json["name"] == "second")
            assert got.json == info
            assert list(got.json) == ["ip", "name", "group"]
    assert first.wait_for(lambda f: f.reserved == "CLTDISCONN").json == info


def test_announcements_reach_only_the_group(make_server: MakeServer) -> None:
    server = make_server(announce="group")
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    with Peer(server.addr) as red, Peer(server.addr) as blue, Peer(server.addr) as loner:
        for peer, name, group in ((red, "r", "red"), (blue, "b", "blue"), (loner, "l", None)):
            peer.hello(name, group)
            peer.send("ping")
            told = []
            while (got := peer.read()).command != "pong":
                told.append(got.json["name"])
            assert told == ([name] if group else [])
        with Peer.joined(server.addr, "r2", "red"):
            red.wait_for(lambda f: f.reserved == "CLTCONN" and f.json["name"] == "r2")
        red.wait_for(lambda f: f.reserved == "CLTDISCONN" and f.json["name"] == "r2")
        for peer in (blue, loner):
            peer.send("ping")
            assert peer.read().command == "pong"


def test_announcements_can_be_turned_off(make_server: MakeServer) -> None:
    server = make_server(announce="none")
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    with Peer(server.addr) as first, Peer(server.addr) as second:
        for peer in (first, second):
            peer.hello()
            peer.send("ping")
            assert peer.read().command == "pong"
        second.reserved("USRCLOSE")
        second.rest()
        first.send("ping")
        assert first.read().command == "pong"


def test_usrclose_is_answered_with_disconn(server: ThreadedServer, make_peer: MakePeer) -> None:
    peer = make_peer(server)
    peer.reserved("USRCLOSE")
    assert [got.reserved for got in peer.rest()] == ["DISCONN"]


def test_a_disconnected_client_gets_what_was_sent_before(
    server: ThreadedServer, make_peer: MakePeer
) -> None:
    peer = make_peer(server, "victim")
    for number in range(1, 1001):
        server.send_client("victim", "number", number)
    server.disconnect_client("victim")
    got = peer.rest()
    assert [g.message for g in got[:-1]] == [str(n).encode() for n in range(1, 1001)]
    assert got[-1].reserved == "DISCONN"


def test_a_forced_disconnection_says_nothing(server: ThreadedServer, make_peer: MakePeer) -> None:
    peer = make_peer(server, "victim")
    server.disconnect_client("victim", force=True)
    assert peer.rest() == []


def test_getclt_is_answered_by_one_raw_frame(server: ThreadedServer, make_peer: MakePeer) -> None:
    peer = make_peer(server, "alice", "red")
    info = {"ip": list(peer.addr), "name": "alice", "group": "red"}
    for question, answer in {
        "alice": info,
        peer.ip: info,
        "nobody": {"traceback": "$NOEXIST$"},
        "1.2.3.4:5": {"traceback": "$NOEXIST$"},
        "": {"traceback": "$NOEXIST$"},
    }.items():
        peer.reserved("GETCLT", question)
        got = peer.read()
        assert got.command is None
        assert json.loads(got.payload) == answer


def test_no_message_and_an_empty_message_mean_the_same(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()

    @server.on("text")
    def text(client: hisock.ClientInfo, message: str) -> None:
        events.add(message)

    server.start()
    peer = make_peer(server)
    peer.send("text")
    peer.send("text", b"")
    peer.send("text", b"end")
    events.wait_for("end")
    assert events.seen == [("",), ("",), ("end",)]


def test_the_message_begins_behind_the_first_separator(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("x")(lambda client, message: events.add(message))
    server.start()
    make_peer(server).send("x", b"$MSG$ $CMD$y$MSG$z")
    events.wait_for(b"$MSG$ $CMD$y$MSG$z")


@pytest.mark.parametrize("command", ["Chat", "MSG", "CMD", "Draw", "$5", "M$D", "ඞ", " ", "a b"])
def test_commands_are_not_mangled(
    make_server: MakeServer, make_client: Callable[..., ThreadedClient], command: str
) -> None:
    """2.0.2 strips C, M, D and $ from the front of what a server receives."""
    server = make_server()
    server.on(command)(lambda client, data: server.send_client(client, command, data))
    server.start()
    client = make_client(server)
    client.start()
    client.send(command, "hello")
    assert client.recv(command, str, timeout=15) == "hello"


def test_extra_keys_of_a_hello_are_ignored(server: ThreadedServer) -> None:
    with Peer(server.addr) as peer:
        peer.write(frame(b'$CLTHELLO${"name": "new", "version": 9, "group": null, "x": [1]}'))
        got = peer.wait_for(lambda f: f.reserved == "CLTCONN")
    assert got.json == {"ip": list(peer.addr), "name": "new", "group": None}
