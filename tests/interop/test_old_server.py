"""Our clients on a 2.0.2 server that runs in a process of its own.

2.0.2 reads a frame with one ``recv`` and so needs every frame of ours to arrive whole; the messages
here are small, and each is answered before the next is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support import Events, OldHiSock, Peer
from support.fixtures import MakeClient

import hisock
from hisock.utils import ServerException

from .agents import Agent, old_server, record_all
from .values import CASES, portable


@pytest.fixture(scope="module")
def theirs(old_hisock: OldHiSock) -> Iterator[Agent]:
    agent = old_server(old_hisock)
    yield agent
    agent.end()


KINDS: dict[str, Any] = {
    "bytes": bytes,
    "str": str,
    "int": int,
    "float": float,
    "list": list,
    "dict": dict,
    "true": bool,
    "false": bool,
    "none": None,
    "untyped": None,
    "bool": bool,
}


@pytest.fixture
def bob(theirs: Agent, events: Events) -> Iterator[hisock.ThreadedHiSockClient]:
    """A client of ours that joined the 2.0.2 server."""
    client = hisock.ThreadedHiSockClient(theirs.addr, "bob", "red")
    record_all(client, events, KINDS)
    client.start()
    addr = list(client.get_client_addr())
    theirs.wait("join", addr)
    yield client
    client.close()
    theirs.wait("leave", addr)


def test_our_client_says_hello_to_a_2_0_2_server(
    theirs: Agent, make_client: MakeClient, events: Events
) -> None:
    for name, group in (("eve", "blue"), (None, None)):
        client = make_client(theirs.addr, name, group)
        record_all(client, events, KINDS)
        client.start()
        addr = client.get_client_addr()
        assert theirs.wait("join", list(addr)) == [list(addr), name, group]
        events.wait_for("client_connect", addr, name, group)
        client.close()
        assert theirs.wait("leave", list(addr)) == [list(addr), name, group]


def test_every_type_arrives_from_and_at_our_client(
    theirs: Agent, bob: hisock.ThreadedHiSockClient, events: Events
) -> None:
    for kind, value in CASES:
        count = len(events.named(kind))
        bob.send(kind, value)
        got = theirs.wait("got " + kind)
        assert got == ["bob", type(value).__name__, portable(value)]
        assert events.wait_for(kind, count=count + 1)[1] == value
        assert type(events.named(kind)[-1][0]) is type(value)


def test_bools_of_a_2_0_2_server_are_bools_here(
    theirs: Agent, bob: hisock.ThreadedHiSockClient, events: Events
) -> None:
    bob.send("give_bool")
    events.wait_for("none", None)
    assert events.named("true") == [(True,)]
    assert events.named("false") == [(False,)]


def test_bools_and_none_of_our_client_are_text_and_nothing_there(
    theirs: Agent, bob: hisock.ThreadedHiSockClient, events: Events
) -> None:
    bob.send("bool", True)
    assert theirs.wait("got bool") == ["bob", "str", "true"]
    events.wait_for("bool", True)
    bob.send("untyped")
    assert theirs.wait("got untyped") == ["bob", "NoneType", None]
    events.wait_for("untyped", None)


def test_recv_gets_what_a_2_0_2_server_sends(theirs: Agent) -> None:
    with hisock.ThreadedHiSockClient(theirs.addr, "reads itself") as client:
        addr = list(client.get_client_addr())
        theirs.wait("join", addr)
        client.send("str", "not started")
        assert client.recv("str", str, timeout=15) == "not started"
        client.start()
        client.send("dict", {"started": True})
        assert client.recv("dict", dict, timeout=15) == {"started": True}
    theirs.wait("leave", addr)


def test_our_client_renames_itself_and_moves(
    theirs: Agent, bob: hisock.ThreadedHiSockClient, events: Events
) -> None:
    bob.change_name("robert")
    assert theirs.wait("name_change") == ["robert", "bob", "robert"]
    bob.change_group("blue")
    assert theirs.wait("group_change") == ["blue", "red", "blue"]
    theirs.order("group", "blue", "str", "only for blue")
    events.wait_for("str", "only for blue")
    theirs.order("client", "robert", "int", 5)
    events.wait_for("int", 5)
    bob.change_name("bob")
    theirs.wait("name_change", "bob")


def test_commands_and_broadcasts_of_a_2_0_2_server_arrive(
    theirs: Agent, bob: hisock.ThreadedHiSockClient, events: Events
) -> None:
    theirs.order("all", "str", "for all")
    events.wait_for("str", "for all")
    theirs.order("all", "unheard of", "x")
    events.wait_for("*", "unheard of")
    bob.send("unheard of", "y")
    assert theirs.wait("*") == ["bob", "unheard of", b"y".hex()]


def test_get_client_reports_the_traceback_that_a_2_0_2_server_answers(
    theirs: Agent, bob: hisock.ThreadedHiSockClient
) -> None:
    """2.0.2 answers every question with its own error: it looks for ``bytes`` among names."""
    for who in ("bob", bob.get_client_addr()):
        with pytest.raises(ServerException, match="Client format is wrong"):
            bob.get_client(who)


def test_joins_and_leaves_are_announced(
    theirs: Agent, bob: hisock.ThreadedHiSockClient, events: Events
) -> None:
    with Peer.joined(theirs.addr, "carol", "red") as peer:
        events.wait_for("client_connect", peer.addr, "carol", "red")
        peer.reserved("USRCLOSE")
        assert peer.rest()[-1].reserved == "DISCONN"
    events.wait_for("client_disconnect", peer.addr, "carol", "red")


def test_a_kick_ends_our_client(
    theirs: Agent,
    bob: hisock.ThreadedHiSockClient,
    events: Events,
    make_client: MakeClient,
) -> None:
    victim = make_client(theirs.addr, "victim")
    seen = Events()
    record_all(victim, seen, KINDS)
    victim.start()
    theirs.wait("join", list(victim.get_client_addr()))
    addr = victim.get_client_addr()
    theirs.order("kick", "victim", False)
    theirs.wait("leave", list(addr), "victim")
    seen.wait_for("force_disconnect")
    events.wait_for("client_disconnect", addr, "victim", None)
    bob.send("str", "unharmed")
    events.wait_for("str", "unharmed")


def test_start_returns_when_a_2_0_2_server_kicks(theirs: Agent) -> None:
    client = hisock.connect(theirs.addr, name="blocks")
    theirs.wait("join", list(client.get_client_addr()))
    thread = threading.Thread(target=client.start, daemon=True)
    thread.start()
    theirs.order("kick", "blocks", False)
    thread.join(15)
    assert not thread.is_alive()


def test_our_client_answers_the_keepalives_of_a_2_0_2_server(
    old_hisock: OldHiSock,
    make_client: MakeClient,
    events: Events,
) -> None:
    """The clock of that server is shortened; everything else is 2.0.2's."""
    agent = old_server(old_hisock, "quick")
    client = make_client(agent.addr, "dutiful")
    record_all(client, events, KINDS)
    client.start()
    agent.wait("join", list(client.get_client_addr()))
    with Peer.joined(agent.addr, "mute"):
        agent.wait("leave")
        for _ in range(4):
            agent.wait("keepalive waits", 1)
        client.send("str", "still here")
        events.wait_for("str", "still here")
    left = [report for report in agent.reports if report[0] == "leave"]
    assert [name for _, _, name, _ in left] == ["mute"]
    agent.end()


def test_the_end_of_a_2_0_2_server_ends_our_client(
    old_hisock: OldHiSock,
    make_client: MakeClient,
    events: Events,
) -> None:
    agent = old_server(old_hisock)
    client = make_client(agent.addr, "left alone")
    record_all(client, events, KINDS)
    client.start()
    agent.wait("join", list(client.get_client_addr()))
    agent.order("kick all")
    events.wait_for("force_disconnect")
    agent.end()
