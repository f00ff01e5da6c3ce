"""2.0.2 clients, each a process of its own, on our server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support import Events, OldHiSock, Peer
from support.fixtures import MakePeer
from support.polling import eventually

import hisock

from .agents import Agent, old_client
from .values import CASES, portable


@dataclass(frozen=True)
class Ours:
    server: hisock.ThreadedHiSockServer
    events: Events


def wire(server: hisock.HiSockServer, events: Events) -> None:
    """Echo every kind, and record what every handler saw."""
    kinds: dict[str, Any] = {
        "bytes": bytes,
        "str": str,
        "int": int,
        "float": float,
        "list": list,
        "dict": dict,
        "bool": bool,
    }
    for kind, annotation in kinds.items():

        def echo(client: hisock.ClientInfo, message: Any, kind: str = kind) -> None:
            events.add("got", kind, message)
            server.send_client(client, kind, message)

        def handler(client: hisock.ClientInfo, message: Any, *, _echo: Any = echo) -> None:
            _echo(client, message)

        handler.__annotations__["message"] = annotation
        server.on(kind)(handler)

    @server.on("untyped")
    def untyped(client: hisock.ClientInfo, message) -> None:  # type: ignore[no-untyped-def]
        events.add("got", "untyped", message)
        server.send_client(client, "untyped", message)

    @server.on("join")
    def join(client: hisock.ClientInfo) -> None:
        events.add("join", client.name, client.group, client.addr)

    @server.on("leave")
    def leave(client: hisock.ClientInfo) -> None:
        events.add("leave", client.name, client.group, client.addr)

    @server.on("name_change")
    def name_change(client: hisock.ClientInfo, old: str, new: str) -> None:
        events.add("name_change", client.name, old, new)

    @server.on("group_change")
    def group_change(client: hisock.ClientInfo, old: str, new: str) -> None:
        events.add("group_change", client.group, old, new)

    @server.on("*")
    def anything_else(client: hisock.ClientInfo, command: str | None, message: bytes) -> None:
        events.add("*", client.name, command, message)


@pytest.fixture(scope="module")
def ours() -> Iterator[Ours]:
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0))
    events = Events()
    wire(server, events)
    server.start()
    yield Ours(server, events)
    server.close()


@pytest.fixture(scope="module")
def alice(ours: Ours, old_hisock: OldHiSock) -> Iterator[Agent]:
    agent = old_client(old_hisock, ours.server.addr, "alice", "red")
    yield agent
    agent.end()


@pytest.fixture
def newcomer(ours: Ours, old_hisock: OldHiSock) -> Iterator[Callable[..., Agent]]:
    agents = []

    def start(name: str | None = None, group: str | None = None) -> Agent:
        agents.append(old_client(old_hisock, ours.server.addr, name, group))
        return agents[-1]

    yield start
    for agent in agents:
        agent.end()


def test_a_2_0_2_client_says_hello_with_its_name_and_group(ours: Ours, alice: Agent) -> None:
    ours.events.wait_for("join", "alice", "red", alice.addr)
    assert ours.server.get_client("alice").addr == alice.addr


def test_a_2_0_2_client_needs_neither_name_nor_group(
    ours: Ours, newcomer: Callable[..., Agent]
) -> None:
    ours.events.wait_for("join", None, None, newcomer().addr)


@pytest.mark.parametrize(("kind", "value"), CASES)
def test_every_type_arrives_from_and_at_a_2_0_2_client(
    ours: Ours, alice: Agent, kind: str, value: Any
) -> None:
    count = len(ours.events.named("got"))
    alice.order("send", kind, kind, portable(value))
    ours.events.wait_until(lambda seen: len([e for e in seen if e[0] == "got"]) > count)
    assert ours.events.named("got")[-1] == (kind, value)
    assert type(ours.events.named("got")[-1][1]) is type(value)
    assert alice.wait("got " + kind) == [type(value).__name__, portable(value)]


def test_a_bool_of_a_2_0_2_client_is_a_bool_here_and_text_there(ours: Ours, alice: Agent) -> None:
    """2.0.2 sends a zero byte for True and nothing for False, and casts nothing else to bool."""
    for value in (True, False):
        alice.order("send", "bool", "bool", value)
        ours.events.wait_for("got", "bool", value)
        assert alice.wait("got bool") == ["str", "true" if value else ""]


def test_none_is_no_message_in_both_directions(ours: Ours, alice: Agent) -> None:
    alice.order("send", "untyped", "none", None)
    assert ours.events.wait_for("got", "untyped")[2] in (None, b"")
    assert alice.wait("got untyped") == ["NoneType", None]
    ours.server.send_client("alice", "nothing")
    alice.wait("got nothing")


def test_recv_of_a_2_0_2_client_gets_what_our_server_sends(
    ours: Ours, newcomer: Callable[..., Agent]
) -> None:
    """``recv`` of 2.0.2 sees only what comes while it waits, and nothing says that it does."""
    waiting = newcomer("waiting")
    ours.events.wait_for("join", "waiting")
    waiting.order("recv", "answer", "dict")

    def answered() -> bool:
        ours.server.send_client("waiting", "answer", {"n": 42})
        return any(report[0] == "received" for report in waiting.reports)

    eventually(answered, "recv returns")
    assert waiting.wait("received") == [{"n": 42}]


def test_an_unhandled_command_and_a_raw_frame_reach_the_wildcard(ours: Ours, alice: Agent) -> None:
    alice.order("send", "unheard of", "str", "data")
    ours.events.wait_for("*", "alice", "unheard of", b"data")
    alice.order("raw", "no command at all")
    assert ours.events.wait_for("*", "alice", None)[3] == b"no command at all"
    ours.server.send_client("alice", "also unheard of", "back")
    assert alice.wait("*") == ["also unheard of", b"back".hex()]


def test_a_2_0_2_client_renames_itself_and_moves(
    ours: Ours, newcomer: Callable[..., Agent]
) -> None:
    dave = newcomer("dave", "green")
    dave.order("change_name", "david")
    ours.events.wait_for("name_change", "david", "dave", "david")
    dave.order("change_group", "blue")
    ours.events.wait_for("group_change", "blue", "green", "blue")
    assert ours.server.get_client("david").group == "blue"
    assert ours.server.send_group("blue", "str", "only for blue") == 1
    assert dave.wait("got str") == ["str", "only for blue"]
    assert ours.server.send_group("green", "str", "nobody left") == 0
    dave.order("change_name", None)
    ours.events.wait_for("name_change", "dave", "david", "dave")
    dave.order("raw", "$CHGROUP$")
    ours.events.wait_for("group_change", "green", "blue", "green")


def test_getclt_of_a_2_0_2_client_is_answered_with_a_raw_frame(ours: Ours, alice: Agent) -> None:
    """``get_client`` of 2.0.2 never sees the answer: it waits for a command. Its ``*`` does."""
    info = {"ip": list(alice.addr), "name": "alice", "group": "red"}
    for question, answer in {
        "alice": info,
        f"{alice.addr[0]}:{alice.addr[1]}": info,
        "nobody": {"traceback": "$NOEXIST$"},
        "127.0.0.1:1": {"traceback": "$NOEXIST$"},
    }.items():
        alice.order("raw", f"$GETCLT${question}")
        command, payload = alice.wait("*")
        assert command is None
        assert json.loads(bytes.fromhex(payload)) == answer


def test_2_0_2_clients_are_told_of_joins_and_leaves(
    ours: Ours, alice: Agent, newcomer: Callable[..., Agent], make_peer: MakePeer
) -> None:
    carol = newcomer("carol", "red")
    carols_addr = list(carol.addr)
    assert carol.wait("client_connect") == [carols_addr, "carol", "red"]
    assert alice.wait("client_connect", carols_addr) == [carols_addr, "carol", "red"]
    with Peer.joined(ours.server.addr) as peer:
        assert alice.wait("client_connect", list(peer.addr)) == [list(peer.addr), None, None]
    assert alice.wait("client_disconnect") == [list(peer.addr), None, None]
    carol.order("close")
    ours.events.wait_for("leave", "carol", "red", carol.addr)
    assert alice.wait("client_disconnect") == [carols_addr, "carol", "red"]


@pytest.mark.parametrize("call_func", [True, False])
def test_a_2_0_2_client_that_is_kicked_is_told_so(
    ours: Ours, alice: Agent, newcomer: Callable[..., Agent], call_func: bool
) -> None:
    name = f"kicked {call_func}"
    kicked = newcomer(name)
    ours.events.wait_for("join", name)
    ours.server.disconnect_client(name, call_func=call_func)
    kicked.wait("force_disconnect")
    kicked.wait("ended")
    alice.wait("client_disconnect", list(kicked.addr), name)
    if call_func:
        ours.events.wait_for("leave", name)
    alice.order("send", "str", "str", f"after {name}")
    ours.events.wait_for("got", "str", f"after {name}")
    assert (name in [left for left, *_ in ours.events.named("leave")]) == call_func


def test_a_2_0_2_client_answers_keepalives_and_stays(old_hisock: OldHiSock) -> None:
    server = hisock.ThreadedHiSockServer(
        ("127.0.0.1", 0), keepalive_interval=0.2, keepalive_timeout=1.0
    )
    events = Events()
    wire(server, events)
    with server:
        server.start()
        agent = old_client(old_hisock, server.addr, "old")
        with Peer.joined(server.addr, "mute") as mute, Peer.joined(server.addr, "dutiful") as d:
            for _ in range(3):
                d.wait_for(lambda frame: frame.reserved == "KEEPALIVE")
                d.reserved("KEEPACK")
            mute.rest()
        events.wait_for("leave", "mute")
        agent.order("send", "str", "str", "still here")
        assert agent.wait("got str") == ["str", "still here"]
        agent.end()


def test_closing_our_server_ends_2_0_2_clients(old_hisock: OldHiSock) -> None:
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0))
    events = Events()
    wire(server, events)
    server.start()
    agents = [old_client(old_hisock, server.addr, name) for name in ("first", "second")]
    for name in ("first", "second"):
        events.wait_for("join", name)
    server.close()
    for agent in agents:
        agent.wait("force_disconnect")
        agent.wait("ended")
        agent.program.finish()
        agent.end()
