"""Strangers who come, go and come back: it gains them nothing, and costs others nothing."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from support import Events, Peer, command_frame, frame
from support.events import PATIENCE

import hisock

from .conftest import Loop
from .serving import serving

HELLO = frame(b"$CLTHELLO$" + json.dumps({"name": "x", "group": None}).encode())


def send_and_go(server: hisock.HiSockServer) -> None:
    """Connect, send a burst and some more, and wait until the server has closed."""
    with Peer(server.addr) as stranger:
        with contextlib.suppress(OSError):
            stranger.write(HELLO + command_frame("count") * 24)
            stranger.end_writing()
        stranger.rest()
    until_gone(server)


def test_coming_back_does_not_reset_the_rate_limit(loop: Loop) -> None:
    events = Events()
    with serving(loop, rate_limit=(0.01, 20), max_connections_per_ip=1) as server:
        server.on("count")(lambda client: events.add("count", client.name))
        server.start()
        for _ in range(5):
            send_and_go(server)
        assert server.stats().ended == {"flood": 5}
        assert len(events.seen) == 19, "the burst, of which the first hello was one"


def test_coming_back_does_not_shorten_a_pause(loop: Loop) -> None:
    events = Events()
    with serving(loop, rate_limit=(50, 20), on_flood="pause") as server:
        server.on("count")(lambda client: events.add("count", client.name))
        server.start()
        began = time.monotonic()
        for _ in range(4):
            send_and_go(server)
        assert len(events.seen) == 4 * 24, "nothing is lost"
        # All but a burst, and what the last connection owes, has taken its time.
        assert time.monotonic() - began > (4 * 25 - 20 - 25) / 50


def until_gone(server: hisock.HiSockServer) -> None:
    """Wait until the server has closed all connections."""
    for _ in range(int(PATIENCE / 0.01)):
        if server.stats().connections == 0:
            return
        server._hub.thread.run(lambda: None)
    pytest.fail("there are connections yet")


def test_strangers_who_come_and_go_do_not_fill_the_backlog_of_others(loop: Loop) -> None:
    left = Events()
    with serving(loop, send_buffer=64 * 1024) as server:
        server.on("leave")(lambda client: left.add("leave", client.name[0], client.addr))
        server.start()
        with Peer.joined(server.addr, "good") as good, Peer.joined(server.addr, "quick") as quick:
            # One large message may pass the bound; from now on the client is behind.
            server.send_client("good", "map", b"m" * 16_000_000)
            for number in range(150):
                with Peer(server.addr) as stranger:
                    stranger.hello(f"s{number}" + "x" * 1000)
                    stranger.ask("ping", answer="pong")
                left.wait_for("leave", "s", stranger.addr)
            stayed = Peer.joined(server.addr, "stayed")
            quick.reserved("USRCLOSE")
            quick.rest()
            left.wait_for("leave", "q", quick.addr)
            assert server.get_client("good").name == "good"
            server.send_client("good", "end")
            good.wait_for("map")
            told: list[tuple[str | None, str]] = []
            while len(told) < 2:
                got = good.read()
                if got.reserved in ("CLTCONN", "CLTDISCONN"):
                    told.append((got.reserved, got.json["name"]))
            assert told == [("CLTCONN", "stayed"), ("CLTDISCONN", "quick")]
            good.ask("ping", answer="pong")
            # It is not behind any more, and hears of others at once.
            stayed.reserved("USRCLOSE")
            stayed.rest()
            gone = good.wait_for(lambda f: f.reserved == "CLTDISCONN")
            assert gone.json["name"] == "stayed"
            stayed.close()


def test_a_client_that_has_much_to_hear_hears_all_of_it(loop: Loop) -> None:
    with serving(loop, send_buffer=64 * 1024) as server, contextlib.ExitStack() as stack:
        server.start()
        good = stack.enter_context(Peer.joined(server.addr, "good"))
        server.send_client("good", "map", b"m" * 16_000_000)
        for number in range(300):
            newcomer = stack.enter_context(Peer(server.addr))
            newcomer.hello(f"{number}" + "x" * 500)
        for _ in range(300):
            joined = good.wait_for(lambda f: f.reserved == "CLTCONN")
            assert len(joined.json["name"]) > 500
        assert len(server) == 301


def test_strangers_with_long_names_who_stay_do_not_fill_the_backlog_of_others(loop: Loop) -> None:
    long = "\U0001f600" * 1000
    with serving(loop, send_buffer=256 * 1024) as server, contextlib.ExitStack() as stack:
        server.start()
        good = stack.enter_context(Peer.joined(server.addr, "good"))
        # One large message may pass the bound; from now on the client is behind.
        server.send_client("good", "map", b"m" * 16_000_000)
        for _ in range(300):
            stranger = stack.enter_context(Peer(server.addr))
            stranger.hello(long, long)
        stranger.ask("ping", answer="pong")
        for _ in range(300):
            joined = good.wait_for(lambda f: f.reserved == "CLTCONN")
            assert joined.json["name"] == long
        good.ask("ping", answer="pong")


def test_one_address_connects_only_so_often(loop: Loop) -> None:
    with serving(loop, connection_rate=(0.001, 3)) as server:
        server.start()
        for number in range(6):
            with Peer(server.addr) as stranger:
                with contextlib.suppress(OSError):
                    stranger.hello("x")
                    stranger.send("ping")
                    stranger.end_writing()
                answered = any(each.command == "pong" for each in stranger.rest())
                assert answered == (number < 3)
        assert server.stats().ended["rate"] == 3


def test_one_address_changes_names_only_so_often(loop: Loop) -> None:
    with serving(loop, change_rate=(0.001, 3)) as server:
        server.start()
        with Peer.joined(server.addr, "ann") as ann, Peer.joined(server.addr, "bob") as bob:
            for number in range(10):
                ann.reserved("CHNAME", f"ann{number}")
                ann.ask("ping", answer="pong")
            bob.reserved("CHGROUP", "red")
            bob.ask("ping", answer="pong")
            names = server.get_all_clients("name")
            assert names == ["ann2", "bob"]
            assert server.get_client("bob").group is None


def test_this_machine_connects_as_often_as_it_likes_by_default(loop: Loop) -> None:
    with serving(loop) as server:
        server.start()
        with contextlib.ExitStack() as stack:
            for _ in range(600):
                stack.enter_context(Peer(server.addr))
            with Peer.joined(server.addr, "ann") as ann:
                ann.ask("ping", answer="pong")


@pytest.mark.parametrize("rate", [(0, 1), (1, 0), "often", (1, 2, 3)])
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    for name in ("connection_rate", "change_rate", "rate_limit"):
        with pytest.raises(ValueError, match=name):
            hisock.HiSockServer(("127.0.0.1", 0), **{name: rate})
