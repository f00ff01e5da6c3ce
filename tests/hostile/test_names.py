"""Names that pretend, names that many have, and questions about them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from support import Events, Peer
from support.logs import logged

import hisock
from hisock._server.namesakes import Namesakes

from .conftest import Loop


@contextlib.contextmanager
def serving(loop: Loop, **options: Any) -> Iterator[hisock.ThreadedHiSockServer]:
    with hisock.ThreadedHiSockServer(("127.0.0.1", 0), loop=loop, **options) as server:
        server.on("ping")(lambda client: server.send_client(client, "pong"))
        server.start()
        yield server


def who_is(peer: Peer, text: str) -> Any:
    """What the server answers to the question who that is."""
    peer.reserved("GETCLT", text)
    return peer.wait_for(lambda f: f.payload.startswith(b"{")).json


NOBODY = {"traceback": "$NOEXIST$"}


def test_what_is_sent_to_an_address_never_goes_to_a_name(loop: Loop) -> None:
    with serving(loop) as server, Peer.joined(server.addr, "eve") as eve:
        with Peer.joined(server.addr, "ann") as ann:
            target = ann.ip
            eve.reserved("CHNAME", target)
            eve.ask("ping", answer="pong")
            server.send_client(target, "secret")
            ann.wait_for("secret")
            assert who_is(eve, target)["name"] == "ann"
            ann.reserved("USRCLOSE")
            ann.rest()
        assert server.get_client(("127.0.0.1", eve.addr[1])).name == target, "it may have the name"
        for look_up in (server.get_client, server.backlog, server.rooms):
            with pytest.raises(hisock.ClientNotFound):
                look_up(target)
        with pytest.raises(hisock.ClientNotFound):
            server.send_client(target, "secret")
        with pytest.raises(KeyError):
            server.clients[target]
        assert who_is(eve, target) == NOBODY


@pytest.mark.parametrize("name", ["[::1]:5000", "10.1.2.3:5", "unix:1", "hidden:1"])
def test_no_name_answers_for_an_address(loop: Loop, name: str) -> None:
    with serving(loop) as server, Peer.joined(server.addr), Peer.joined(server.addr, name) as eve:
        found = who_is(eve, name)
        assert found == NOBODY or found["name"] is None


def test_a_name_with_a_colon_that_is_no_address_is_a_name(loop: Loop) -> None:
    with serving(loop) as server, Peer.joined(server.addr, "player:1") as one:
        assert server.get_client("player:1").addr == one.addr
        assert who_is(one, "player:1")["name"] == "player:1"


def test_hidden_addresses_cannot_be_guessed_and_their_numbers_find_clients(loop: Loop) -> None:
    with serving(loop, hide_addresses=True) as server:

        @server.on("whisper")
        def whisper(client: hisock.ClientInfo, to: str) -> None:
            server.send_client(to, "whispered")

        with Peer(server.addr) as ann, Peer(server.addr) as eve:
            ann.hello("ann")
            ann.ask("ping", answer="pong")
            eve.hello("eve")
            eve.ask("ping", answer="pong")
            assert who_is(eve, ann.ip) == NOBODY
            told = who_is(eve, "ann")["ip"]
            assert told[0] == "hidden"
            assert who_is(eve, f"hidden:{told[1]}")["name"] == "ann"
            eve.send("whisper", f"hidden:{told[1]}")
            ann.wait_for("whispered")
            assert who_is(eve, "hidden:999") == NOBODY
            assert server.get_client(ann.ip).name == "ann", "the program knows addresses"


def test_errors_in_replies_tell_no_address(loop: Loop) -> None:
    gone: list[hisock.ClientInfo] = []
    left = Events()
    with serving(loop, hide_addresses=True) as server:

        @server.on("leave")
        def leave(client: hisock.ClientInfo) -> None:
            gone.append(client)
            left.add("leave", client.name)

        @server.on("send to the gone")
        def send(client: hisock.ClientInfo, how: str) -> None:
            ways: dict[str, Any] = {"info": gone[0], "ip": gone[0].ip, "addr": gone[0].addr}
            server.send_client(ways[how], "x")

        @server.on("group of the gone")
        def group(client: hisock.ClientInfo) -> None:
            server.send_group(gone[0], "x")

        with hisock.connect(server.addr, name="eve") as eve:
            with Peer(server.addr) as ann:
                ann.hello("ann")
                ann.ask("ping", answer="pong")
                addr = ann.addr
            left.wait_for("leave", "ann")
            for how in ("info", "ip", "addr"):
                with pytest.raises(hisock.RemoteError) as caught:
                    eve.call("send to the gone", how)
                assert str(addr[1]) not in str(caught.value)
                assert "127.0.0.1" not in str(caught.value)
            with pytest.raises(hisock.RemoteError, match="the client 'ann' is in no group"):
                eve.call("group of the gone")


def test_a_call_to_a_client_that_knows_none_tells_no_address(loop: Loop) -> None:
    with serving(loop, hide_addresses=True) as server:

        @server.on("call ann")
        async def call() -> None:
            await server.call("ann", "x")

        with Peer(server.addr) as ann:
            ann.hello("ann")
            ann.ask("ping", answer="pong")
            with (
                hisock.connect(server.addr, name="eve") as eve,
                pytest.raises(hisock.RemoteError, match="the client 'ann' does not know") as caught,
            ):
                eve.call("call ann")
            assert "127.0.0.1" not in str(caught.value)


def test_questions_about_a_name_that_two_have_warn_nobody(loop: Loop) -> None:
    with (
        serving(loop) as server,
        Peer.joined(server.addr, "twin") as first,
        Peer.joined(server.addr, "twin") as second,
        logged("hisock") as log,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        for _ in range(50):
            assert who_is(second, "twin")["ip"] == list(first.addr)
        assert caught == []
        assert log.messages == []
        # A program's own look-up warns, in words that do not grow with the names.
        for peer in (first, second):
            peer.reserved("CHNAME", "again")
            peer.ask("ping", answer="pong")
        assert server.get_client("again").addr == first.addr
        (warned,) = caught
        assert "again" not in str(warned.message)
        assert warned.filename == __file__


@pytest.mark.parametrize("length", [1025, 5000, 200_000])
def test_a_question_for_a_name_that_nobody_can_have_is_answered(loop: Loop, length: int) -> None:
    with serving(loop) as server, Peer.joined(server.addr, "ann") as ann:
        assert who_is(ann, "x" * length) == NOBODY
        assert who_is(ann, "ann")["name"] == "ann"


class Counted(int):
    """A place in the order of joining that counts how often it is compared."""

    comparisons = 0

    def __lt__(self, other: int) -> bool:
        Counted.comparisons += 1
        return int(self) < int(other)


class Client:
    def __init__(self, joined: int) -> None:
        self.joined: int = Counted(joined)


def test_a_rename_to_a_name_that_thousands_have_is_cheap() -> None:
    crowd = [Client(number) for number in range(1, 4097)]
    mallory = Client(0)
    same = Namesakes(crowd[0])
    for client in crowd[1:]:
        same.add(client)
    Counted.comparisons = 0
    for _ in range(1000):
        same.add(mallory)
        assert same.first is mallory
        same.remove(mallory)
        assert same.first is crowd[0]
    assert Counted.comparisons <= 1000 * 2 * 13


def test_of_namesakes_the_first_is_always_known_and_the_gone_take_no_memory() -> None:
    steady = Client(0)
    same = Namesakes(steady)
    for number in range(1, 10_000):
        passer_by = Client(number)
        same.add(passer_by)
        assert same.first is steady
        same.remove(passer_by)
        assert len(same) == 1
    assert len(same._heap) == len(same._numbers) < 100


def test_namesakes_leave_in_any_order() -> None:
    clients = [Client(number) for number in range(10)]
    same = Namesakes(clients[5])
    for client in clients[:5] + clients[6:]:
        same.add(client)
    for client in clients[:9]:
        assert same.first is client
        same.remove(client)
    assert same.first is clients[9]
