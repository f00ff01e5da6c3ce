"""Calls where the other end is 2.0.2: refused, and nothing is sent."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
from interop.agents import old_client, old_server
from support import Events, OldHiSock, Peer
from support.events import PATIENCE
from support.fixtures import MakeServer

import hisock

from .clients import AnyClient, Kind
from .wire import OLD_FRAMES, HandServer, Relay, frames_in


def reserved_in(stream: bytes | bytearray) -> set[str]:
    return {frame.reserved for frame in frames_in(bytes(stream)) if frame.reserved is not None}


# A server that is 2.0.2


def test_a_call_to_a_2_0_2_server_is_refused_and_nothing_is_sent(
    old_hisock: OldHiSock, kind: Kind
) -> None:
    agent = old_server(old_hisock)
    with Relay(agent.addr) as relay:
        with AnyClient(kind, relay.addr, "Ada") as client:
            client.start()
            for _ in range(3):
                with pytest.raises(hisock.NotSupported, match="add"):
                    client.call("add", [1, 2], int)
            client.send("int", 5)
            assert client.recv("int", int) == 5
            assert client.waiting_calls == 0
        agent.wait("leave")
        sent = list(frames_in(bytes(relay.to_server)))
        assert [f.reserved or f.command for f in sent] == ["CLTHELLO", "int", "USRCLOSE"]
        assert reserved_in(relay.to_client) <= OLD_FRAMES
    agent.end()


def test_a_call_to_a_server_that_only_seems_old_is_refused(kind: Kind) -> None:
    with HandServer(modern=False) as by_hand, AnyClient(kind, by_hand.addr, "Ada") as client:
        client.start()
        with by_hand.accept() as peer:
            with pytest.raises(hisock.NotSupported):
                client.call("add", [1, 2])
            client.send("done")
            assert peer.read().command == "done"


def test_a_call_to_a_server_that_says_nothing_times_out_and_nothing_is_sent(kind: Kind) -> None:
    with HandServer() as by_hand, AnyClient(kind, by_hand.addr) as client:
        client.start()
        with by_hand.take() as peer:
            with pytest.raises(TimeoutError, match="'add'"):
                client.call("add", [1, 2], timeout=0.01)
            client.send("done")
            assert peer.read().reserved == "CLTHELLO"
            assert peer.read().command == "done"


# Clients that are 2.0.2


def test_a_call_to_a_2_0_2_client_is_refused_and_nothing_is_sent(
    old_hisock: OldHiSock, make_server: MakeServer, events: Events
) -> None:
    server = make_server()
    server.on("join")(lambda client: events.add("join", client.name))
    refused: list[str] = []

    @server.on("call me")
    async def call_me(client: hisock.ClientInfo) -> None:
        try:
            await server.call(client, "int", 1)
        except hisock.NotSupported as exc:
            refused.append(str(exc))

    server.start()
    with Relay(server.addr) as relay:
        agent = old_client(old_hisock, relay.addr, "old", "red")
        events.wait_for("join", "old")
        for _ in range(3):
            with pytest.raises(hisock.NotSupported, match="old"):
                server.call_blocking("old", "int", 1)
        agent.order("send", "call me", "str", "x")
        server.send_client("old", "int", 7)
        assert agent.wait("got int") == ["int", 7]
        assert [report for report in agent.reports if report[0] in ("got int", "*")] == [
            ["got int", "int", 7]
        ]
        assert reserved_in(relay.to_client) == {"CLTCONN"}
        agent.end()


def test_a_2_0_2_client_never_sees_a_frame_that_it_does_not_know(
    old_hisock: OldHiSock,
    make_server: MakeServer,
    events: Events,
) -> None:
    server = make_server()
    server.on("join")(lambda client: events.add("join", client.name))
    server.on("leave")(lambda client: events.add("leave", client.name))
    server.on("add")(lambda client, numbers: 1)
    server.start()
    with Relay(server.addr) as relay:
        agent = old_client(old_hisock, relay.addr, "old", "red")
        events.wait_for("join", "old")
        # Everything new at once, by clients and towards the old one.
        with hisock.threaded_connect(server.addr, "new", "red") as new:
            new.on("ask")(lambda: "answer")
            new.start()
            assert new.call("add", [1]) == b"1"
            assert server.call_blocking("new", "ask", None, str) == "answer"
            server.join_room("old", "lobby")
            server.join_room("new", "lobby")
            assert server.send_room("lobby", "str", "room") == 2
            assert server.send_many(["old", "new"], "str", "many") == 2
            server.send_client("old", "str", "volatile", volatile=True)
            server.send_client("old", "str", "latest", latest="key")
            with pytest.raises(hisock.NotSupported):
                server.call_blocking("old", "str", "call")
            new.change_name("newer")
        for text in ("room", "many", "volatile", "latest"):
            assert agent.wait("got str") == ["str", text]
        agent.order("change_name", "older")
        server.disconnect_client(_only(server))
        agent.wait("force_disconnect")
        assert reserved_in(relay.to_client) == {"CLTCONN", "CLTDISCONN", "DISCONN"}
        agent.end()


def _only(server: hisock.HiSockServer) -> hisock.ClientInfo:
    (client,) = server.get_all_clients()
    assert isinstance(client, hisock.ClientInfo)
    return client


@pytest.mark.parametrize("options", [{}, {"codec": "msgpack"}, {"max_connections": 1}])
def test_who_says_hello_as_2_0_2_does_gets_only_what_2_0_2_knows(
    make_server: MakeServer, options: dict[str, Any]
) -> None:
    # The first round may come before they have joined; the next one is two seconds later then.
    server = make_server(**options, keepalive_interval=0.01, keepalive_timeout=2.0)
    server.start()
    closing = threading.Thread(target=server.close)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.addr)) for _ in range(2)]
        for peer in peers:
            peer.hello("old")
        if "codec" not in options:
            peers[0].wait_for(lambda f: f.reserved == "KEEPALIVE")
        closing.start()
        for peer in peers:
            for frame in peer.rest():
                assert frame.reserved in OLD_FRAMES
    closing.join(PATIENCE)
