"""Announcements are gathered, and every client still gets the same frames in the same order.

The window is a minute here, so that what arrives does not do so because it is over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from support import Events, Frame, Peer, command_frame
from support.fixtures import MakeServer

import hisock
from hisock._server.writer import Writer


@pytest.fixture
def gathering(make_server: MakeServer) -> Any:
    """Makes a server in the middle of a window."""

    def make(window: float = 60.0, **options: Any) -> hisock.ThreadedHiSockServer:
        server = make_server(**options)

        @server.on("say")
        def say(client: hisock.ClientInfo, message: str) -> None:
            server.send_all_clients("said", message)

        server.on("ping")(lambda client: server.send_client(client, "pong"))
        server._hub.announcements.window = window
        server.start()
        with Peer(server.addr) as first:
            first.hello("opens the window", "red" if "announce" in options else None)
            first.reserved("USRCLOSE")
            first.rest()
        return server

    return make


def brief(got: Frame) -> str:
    if got.reserved in ("CLTCONN", "CLTDISCONN"):
        sign = "+" if got.reserved == "CLTCONN" else "-"
        return sign + (got.json["name"] or "?")
    return got.command or got.reserved or "?"


@contextlib.contextmanager
def joined(server: Any, name: str, group: str | None = None) -> Iterator[Peer]:
    """A client that was told at once that it has joined."""
    with Peer(server.addr) as peer:
        peer.hello(name, group)
        got = peer.wait_for(lambda f: f.reserved == "CLTCONN" and f.json["name"] == name)
        assert got.json["ip"] == list(peer.addr)
        yield peer


def told(peer: Peer) -> list[str]:
    """What came until an answer to this."""
    peer.send("ping")
    seen: list[str] = []
    while (got := brief(peer.read())) != "pong":
        seen.append(got)
    return seen


def test_nobody_hears_of_a_client_after_what_it_says(gathering: Any) -> None:
    server = gathering()
    with joined(server, "ann") as ann, joined(server, "bob") as bob:
        with Peer(server.addr) as carla:
            carla.hello("carla")
            carla.write(command_frame("say", "hello"))
            carla.wait_for("said")
            got = [brief(ann.read()) for _ in range(3)]
            assert got == ["+bob", "+carla", "said"]
            assert [brief(bob.read()) for _ in range(2)] == ["+carla", "said"]
            carla.reserved("USRCLOSE")
            carla.rest()
        assert told(ann) == ["-carla"]
        assert told(bob) == ["-carla"]


def test_who_joins_and_leaves_within_the_window_is_announced_twice(gathering: Any) -> None:
    server = gathering()
    with joined(server, "ann") as ann:
        for name in ("bob", "carla"):
            with joined(server, name) as peer:
                peer.reserved("USRCLOSE")
                assert [brief(got) for got in peer.rest()] == ["DISCONN"]
        assert told(ann) == ["+bob", "-bob", "+carla", "-carla"]
        assert told(ann) == []


def test_a_client_is_announced_by_the_name_that_it_had(gathering: Any) -> None:
    server = gathering()
    renamed = Events()
    server.on("name_change")(lambda client, old, new: renamed.add("name", new))
    with joined(server, "ann") as ann, joined(server, "bob") as bob:
        bob.reserved("CHNAME", "robert")
        renamed.wait_for("name", "robert")
        bob.reserved("USRCLOSE")
        bob.rest()
        assert told(ann) == ["+bob", "-robert"]


def test_a_leaving_client_gets_what_was_announced_before_its_goodbye(gathering: Any) -> None:
    server = gathering()
    with joined(server, "ann") as ann, joined(server, "bob"):
        server.disconnect_client("ann")
        assert [brief(got) for got in ann.rest()] == ["+bob", "DISCONN"]


def test_groups_are_told_of_their_own_and_of_moves_in_between(gathering: Any) -> None:
    server = gathering(announce="group")
    moves = Events()
    server.on("group_change")(lambda client, old, new: moves.add("group", client.name, new))
    with contextlib.ExitStack() as stack:
        red, blue, *_ = [
            stack.enter_context(joined(server, name, group))
            for name, group in (("red", "red"), ("blue", "blue"), ("r2", "red"), ("b2", "blue"))
        ]
        red.reserved("CHGROUP", "blue")
        moves.wait_for("group", "red", "blue")
        for name, group in (("r3", "red"), ("b3", "blue")):
            stack.enter_context(joined(server, name, group))
        red.reserved("CHGROUP", "red")
        moves.wait_for("group", "red", "red")
        for name, group in (("r4", "red"), ("b4", "blue")):
            stack.enter_context(joined(server, name, group))
        assert told(red) == ["+r2", "+b3", "+r4"]
        assert told(blue) == ["+b2", "+b3", "+b4"]


def test_hidden_addresses_stay_hidden(gathering: Any) -> None:
    server = gathering(hide_addresses=True)
    with Peer(server.addr) as ann, Peer(server.addr) as bob:
        for peer, name in ((ann, "ann"), (bob, "bob")):
            peer.hello(name)
            assert brief(peer.read()) == f"+{name}"
        ann.send("ping")
        assert ann.read().json == {"ip": ["hidden", 3], "name": "bob", "group": None}


def test_what_is_gathered_is_written_when_the_window_ends(gathering: Any) -> None:
    server = gathering(window=0.001)
    with contextlib.ExitStack() as stack:
        ann = stack.enter_context(joined(server, "ann"))
        for number in range(50):
            peer = stack.enter_context(Peer(server.addr))
            peer.hello(f"c{number}")
        names = [brief(ann.read()) for _ in range(50)]
        assert sorted(names) == sorted(f"+c{number}" for number in range(50))


def test_more_than_a_share_of_the_send_buffer_is_written_at_once(gathering: Any) -> None:
    server = gathering(send_buffer=64 * 1024)
    with contextlib.ExitStack() as stack:
        ann = stack.enter_context(joined(server, "ann"))
        for number in range(20):
            stack.enter_context(Peer(server.addr)).hello(f"c{number}" + "x" * 1000)
        assert [len(ann.read().json["name"]) > 1000 for _ in range(12)] == [True] * 12


def test_one_that_cannot_be_written_to_keeps_no_other_from_hearing(
    gathering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for want of memory: nobody heard of any client any more."""
    flush = Writer.flush_gathered
    failed: list[Writer] = []

    def fail_once(writer: Writer, end: int) -> None:
        if not failed:
            failed.append(writer)
            raise MemoryError("no memory for the test")
        flush(writer, end)

    server = gathering(window=0.01)
    with (
        joined(server, "Ada"),
        joined(server, "Bob") as second,
        joined(server, "Cy") as third,
    ):
        monkeypatch.setattr(Writer, "flush_gathered", fail_once)
        with joined(server, "Dan"):
            for peer in (second, third):
                peer.wait_for(lambda f: f.reserved == "CLTCONN" and f.json["name"] == "Dan")
        assert failed
