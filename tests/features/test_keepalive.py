"""Keepalive: a client that is silent for too long is disconnected."""

from __future__ import annotations

from support import Events, Peer
from support.events import PATIENCE
from support.fixtures import MakeClient, MakeServer

LOOPBACK = ("127.0.0.1", 0)


def test_keepalive_ends_a_silent_client_and_keeps_one_that_answers(
    make_server: MakeServer, make_client: MakeClient, events: Events
) -> None:
    server = make_server(keepalive_interval=0.1, keepalive_timeout=1.0)
    server.on("leave")(lambda client: events.add("leave", client.name))
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    client = make_client(server, "client")
    client.start()
    with Peer.joined(server.addr, "silent") as silent, Peer.joined(server.addr, "dutiful") as d:
        for _ in range(2):
            d.wait_for(lambda frame: frame.reserved == "KEEPALIVE")
            d.reserved("KEEPACK")
        assert "KEEPALIVE" in [frame.reserved for frame in silent.rest()]
        events.wait_for("leave", "silent")
        d.ask("ping", answer="pong")
        client.send("ping")
        client.recv("pong", timeout=PATIENCE)
        assert sorted(server.get_all_clients("name")) == ["client", "dutiful"]


def test_whoever_talks_is_alive(make_server: MakeServer) -> None:
    """A client that is busy sending does not have to answer first."""
    server = make_server(keepalive_interval=0.1, keepalive_timeout=0.5)
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    with Peer.joined(server.addr, "busy") as busy:
        asked = 0
        while asked < 3:
            busy.send("ping")
            while (frame := busy.read()).command != "pong":
                asked += frame.reserved == "KEEPALIVE"


def test_keepalive_can_be_turned_off(make_server: MakeServer) -> None:
    server = make_server(keepalive=False, keepalive_interval=0.01, keepalive_timeout=0.01)
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start()
    with Peer.joined(server.addr) as peer:
        for _ in range(200):
            peer.send("ping")
            assert peer.read().command == "pong"
