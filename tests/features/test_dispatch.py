"""Who gets a frame: order, reserved events, override."""

from __future__ import annotations

import threading

import pytest
from support import Events, Peer, command_frame
from support.events import PATIENCE
from support.fixtures import MakeClient, MakePeer, MakeServer

import hisock

# Order


def test_a_handler_comes_before_recv_before_the_wildcard_and_message_always(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("handled")(lambda client, message: events.add("handler", message))
    server.on("*")(lambda client, command, message: events.add("*", command, message))
    server.on("message")(lambda client, command, message: events.add("message", command, message))
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    peer = make_peer(server)

    def receive(name: str, command: str | None) -> threading.Thread:
        def wait() -> None:
            events.add(name, server.recv(command, timeout=PATIENCE))

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        wait_until_receiving(server, thread)
        return thread

    bare = receive("bare", None)
    first = receive("first", "asked")
    second = receive("second", "asked")
    for command, message in (
        ("handled", "1"),
        ("asked", "2"),
        ("asked", "3"),
        ("asked", "4"),
        ("asked", "5"),
    ):
        peer.send(command, message)
    for thread in (bare, first, second):
        thread.join(PATIENCE)
    peer.ask("ping", answer="pong")
    seen = [event for event in events.seen if event[0] != "message"]
    assert sorted(seen, key=lambda event: event[-1]) == [
        ("handler", b"1"),
        ("first", b"2"),
        ("second", b"3"),
        ("bare", b"4"),
        ("*", "asked", b"5"),
    ]
    messages = [event[1:] for event in events.seen if event[0] == "message"]
    assert messages[:5] == [
        ("handled", b"1"),
        ("asked", b"2"),
        ("asked", b"3"),
        ("asked", b"4"),
        ("asked", b"5"),
    ]


def wait_until_receiving(server: hisock.HiSockServer, thread: threading.Thread) -> None:
    """Until a thread waits in ``recv``; there is no public way to see that."""
    import sys

    while thread.is_alive():
        frame = sys._current_frames().get(thread.ident or 0)
        names = []
        while frame is not None:
            names.append((frame.f_code.co_name, frame.f_globals.get("__name__")))
            frame = frame.f_back
        ours = any(name == "recv" and str(room).startswith("hisock.") for name, room in names)
        if ours and ("_wake", "hisock._runtime.waiters") in names:
            return
    raise AssertionError("recv returned")


def test_frames_of_one_client_are_handled_in_order(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    """Handled ones, unhandled ones and reserved ones, all in one packet."""
    server = make_server()
    server.on("a")(lambda client, n: events.add("a", n))
    server.on("*")(lambda client, command, n: events.add("*", n))
    server.on("name_change")(lambda client, old, new: events.add("name", new.encode()))
    server.start()
    peer = make_peer(server, "start")
    stream, expected = b"", []
    for number in range(300):
        text = str(number).encode()
        kind = ("a", "*", "name")[number % 3]
        if kind == "name":
            stream += str(8 + len(text)).encode().ljust(16) + b"$CHNAME$" + text
        else:
            stream += command_frame("a" if kind == "a" else "unheard of", text)
        expected.append((kind, text))
    peer.write(stream)
    events.wait_for(*expected[-1])
    assert events.seen == expected


def test_each_change_of_name_is_seen_by_the_next_handler(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("who")(lambda client, n: events.add(n, client.name, client.group))
    server.start()
    peer = make_peer(server, "a", "g")
    peer.write(
        command_frame("who", "1")
        + b"9               $CHNAME$b"
        + command_frame("who", "2")
        + b"10              $CHGROUP$h"
        + command_frame("who", "3")
    )
    events.wait_for(b"3")
    assert events.seen == [(b"1", "a", "g"), (b"2", "b", "g"), (b"3", "b", "h")]


# Reserved events


def test_reserved_events_of_a_server(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("join")(lambda client: events.add("join", client))
    server.on("leave")(lambda client: events.add("leave", client))
    server.on("name_change")(lambda client, old, new: events.add("name", client, old, new))
    server.on("group_change")(lambda client, old, new: events.add("group", client, old, new))
    server.start()
    peer = make_peer(server, "ann", "red")
    Info = hisock.ClientInfo
    events.wait_for("join", Info(peer.addr, "ann", "red"))
    peer.reserved("CHNAME", "bob")
    events.wait_for("name", Info(peer.addr, "bob", "red"), "ann", "bob")
    peer.reserved("CHGROUP", "blue")
    events.wait_for("group", Info(peer.addr, "bob", "blue"), "red", "blue")
    peer.reserved("CHNAME")
    events.wait_for("name", Info(peer.addr, "ann", "blue"), "bob", "ann")
    peer.reserved("CHGROUP")
    events.wait_for("group", Info(peer.addr, "ann", "red"), "blue", "red")
    peer.close()
    events.wait_for("leave", Info(peer.addr, "ann", "red"))


def test_reserved_events_of_a_client(
    make_server: MakeServer, make_client: MakeClient, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.start()
    client = make_client(server, "ann", "red")
    client.on("client_connect")(lambda info: events.add("connect", info))
    client.on("client_disconnect")(lambda info: events.add("disconnect", info))
    client.on("force_disconnect")(lambda: events.add("forced"))
    client.start()
    Info = hisock.ClientInfo
    events.wait_for("connect", Info(client.get_client_addr(), "ann", "red"))
    peer = make_peer(server, "bob")
    events.wait_for("connect", Info(peer.addr, "bob", None))
    peer.close()
    events.wait_for("disconnect", Info(peer.addr, "bob", None))
    server.disconnect_client("ann")
    events.wait_for("forced")


def test_the_servers_wildcard_gets_raw_frames_too(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()
    server.on("*")(lambda client, command, message: events.add(client.name, command, message))
    server.start()
    peer = make_peer(server, "ann")
    peer.raw(b"no command")
    peer.send("unheard of")
    events.wait_for("ann", "unheard of", None)
    assert events.seen[0] == ("ann", None, b"no command")


# Override


@pytest.mark.parametrize("event", ["join", "leave", "message", "name_change", "group_change"])
def test_an_overridden_event_is_a_command_and_does_not_fire(
    make_server: MakeServer, make_peer: MakePeer, events: Events, event: str
) -> None:
    server = make_server()

    @server.on(event, override=True)
    def handler(client: hisock.ClientInfo, reason: str) -> None:
        events.add(client.name, reason)

    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    with make_peer(server, "ann", "red") as peer:
        peer.reserved("CHNAME", "bob")
        peer.reserved("CHGROUP", "blue")
        peer.send(event, "because")
        peer.ask("ping", answer="pong")
    with make_peer(server, "last") as last:
        last.ask("ping", answer="pong")
    assert events.seen == [("bob", "because")]


def test_a_client_overrides_too(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    server = make_server()
    server.start()
    client = make_client(server, "ann")

    @client.on("client_disconnect", override=True)
    def handler(why: dict[str, str]) -> None:
        events.add(why)

    client.start()
    Peer.joined(server.addr).close()
    server.send_all_clients("client_disconnect", {"reason": "they left"})
    events.wait_for({"reason": "they left"})
    assert len(events.seen) == 1
