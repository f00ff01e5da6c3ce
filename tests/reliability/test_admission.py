"""Who is let in, what those hear who are not, and what nobody must ever see."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import Events, Peer, command_frame
from support.events import PATIENCE
from support.fixtures import StartServer
from support.logs import logged
from support.polling import eventually

import hisock
from reliability.watching import serves

pytestmark = pytest.mark.usefixtures("nothing_left")
TOKEN = "s3cret-t0ken-that-nobody-must-see"


def say_hello(peer: Peer, name: str, **more: Any) -> Peer:
    hello = {"name": name, "group": None, "features": ["call", "reject"], **more}
    peer.reserved("CLTHELLO", json.dumps(hello))
    return peer


def reason(peer: Peer) -> str | None:
    """Why a peer was rejected; ``None`` when it was let in."""
    first = peer.read()
    return first.data.decode() if first.reserved == "REJECT" else None


def recording(events: Events) -> Callable[[hisock.ThreadedHiSockServer], None]:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        server.on("join")(lambda client: events.add("join", client.name))
        server.on("leave")(lambda client: events.add("leave", client.name))

        @server.on("message")
        def message(client: hisock.ClientInfo, command: str, message: bytes) -> None:
            events.add("message", client.name, command)

    return wire


def only_with_token(server: hisock.ThreadedHiSockServer) -> None:
    @server.authenticate
    def authenticate(token: str | None) -> None:
        if token != TOKEN:
            raise hisock.Reject("wrong token")


def only_with_token_async(server: hisock.ThreadedHiSockServer) -> None:
    @server.authenticate
    async def authenticate(request: Any) -> None:
        await asyncio.sleep(0.01)
        if request.token != TOKEN:
            raise hisock.Reject("wrong token")


BOTH = pytest.mark.parametrize(
    "rule", [only_with_token, only_with_token_async], ids=["sync", "async"]
)


@BOTH
def test_a_rejected_client_is_told_why_and_nobody_else_hears_of_it(
    start_server: StartServer, events: Events, rule: Any
) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        rule(server)
        recording(events)(server)

    server = start_server(wire)
    with say_hello(Peer(server.addr), "steady", token=TOKEN) as steady:
        assert reason(steady) is None
        with say_hello(Peer(server.addr), "stranger", token="guess") as stranger:
            stranger.write(command_frame("ping", "too early"))
            assert reason(stranger) == "wrong token"
            assert [got.reserved for got in stranger.rest()] == ["DISCONN"]
        with Peer(server.addr) as old:
            old.hello("a 2.0.2 client")
            assert [got.reserved for got in old.rest()] == ["DISCONN"]
        with pytest.raises(hisock.ConnectionRejected, match="wrong token"):
            hisock.connect(server.addr, "guesser", token="guess")
        assert steady.ask("ping", "1", answer="pong")
        told = server.stats().ended
        assert told == {"rejected": 3}
    events.wait_for("leave", "steady")
    assert events.seen == [("join", "steady"), ("message", "steady", "ping"), ("leave", "steady")]


@BOTH
def test_what_is_sent_before_being_let_in_is_handled_afterwards_in_order(
    start_server: StartServer, rule: Any
) -> None:
    server = start_server(rule)
    with say_hello(Peer(server.addr), "eager", token=TOKEN) as eager:
        eager.write(b"".join(command_frame("ping", str(number)) for number in range(50)))
        answers = [eager.wait_for("pong").message for _ in range(50)]
    assert answers == [str(number).encode() for number in range(50)]


def test_a_client_is_let_in_with_its_token(start_server: StartServer) -> None:
    server = start_server(only_with_token)
    with hisock.connect(server.addr, "ann", token=TOKEN) as client:
        client.send("ping", b"1")
        assert client.recv("pong", timeout=PATIENCE) == b"1"


def test_a_decision_that_takes_too_long_is_a_no(start_server: StartServer, events: Events) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        recording(events)(server)

        @server.authenticate
        async def authenticate(name: str) -> None:
            if name != "quick":
                await asyncio.sleep(3600)

    server = start_server(wire, auth_timeout=0.2)
    with say_hello(Peer(server.addr), "slow") as slow, say_hello(Peer(server.addr), "quick") as q:
        assert reason(q) is None
        assert "0.2 seconds" in (reason(slow) or "")
    events.wait_for("leave", "quick")
    assert ("join", "slow") not in events.seen


def test_one_that_is_being_decided_about_holds_up_nobody(
    start_server: StartServer, events: Events
) -> None:
    decided: dict[str, asyncio.Event] = {}

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.authenticate
        async def authenticate(name: str) -> None:
            if name.startswith("waits"):
                decided[name] = asyncio.Event()
                events.add("asked", name)
                await decided[name].wait()

        @server.on("decide")
        def decide() -> None:
            for event in decided.values():
                event.set()

    server = start_server(wire)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(Peer(server.addr)) for _ in range(20)]
        for number, peer in enumerate(waiting):
            say_hello(peer, f"waits {number}")
        events.wait_for("asked", count=20)
        steady = stack.enter_context(say_hello(Peer(server.addr), "steady"))
        assert steady.ask("ping", "1", answer="pong")
        assert server.get_all_clients("name") == ["steady"]
        # Some have gone before they are decided about.
        for peer in waiting[:10]:
            peer.reset()
        steady.send("decide")
        for peer in waiting[10:]:
            assert reason(peer) is None
        eventually(lambda: server.stats().connections == 11, "the server notices")
        assert len(server) == 11


def test_an_error_while_deciding_is_a_no_and_says_nothing_of_it(
    start_server: StartServer,
) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.authenticate
        def authenticate(name: str) -> None:
            if name == "breaks it":
                raise RuntimeError("the password of the database is 1234")

    server = start_server(wire)
    with logged("hisock.server", logging.ERROR), say_hello(Peer(server.addr), "breaks it") as peer:
        text = reason(peer)
    assert text is not None
    assert "1234" not in text
    assert server.stats().handler_errors == 1
    serves(server)


def test_a_name_is_given_once(start_server: StartServer, events: Events) -> None:
    server = start_server(recording(events), unique_names=True)
    with say_hello(Peer(server.addr), "ann") as ann, say_hello(Peer(server.addr), "bob") as bob:
        assert reason(ann) is None
        assert reason(bob) is None
        with say_hello(Peer(server.addr), "ann") as second:
            assert "ann" in (reason(second) or "")
        bob.reserved("CHNAME", "ann")
        bob.ask("ping", "1", answer="pong")
        assert sorted(server.get_all_clients("name")) == ["ann", "bob"]
    eventually(lambda: not len(server), "both leave")
    with say_hello(Peer(server.addr), "ann") as again:
        assert reason(again) is None


def test_a_name_goes_back_only_to_the_client_that_has_it(
    start_server: StartServer, events: Events
) -> None:
    server = start_server(recording(events), unique_names=True)
    with say_hello(Peer(server.addr), "ann", resume="secret of ann") as ann:
        assert reason(ann) is None
        for other in ("another secret", "", None, 5, ["secret of ann"], "x" * 65):
            with say_hello(Peer(server.addr), "ann", resume=other) as stranger:
                assert "ann" in (reason(stranger) or "")
        with say_hello(Peer(server.addr), "bob", resume="secret of bob") as bob:
            assert reason(bob) is None
            with say_hello(Peer(server.addr), "bob", resume="secret of ann") as thief:
                # It is ann, who now wants a name that bob has.
                assert "bob" in (reason(thief) or "")
            assert bob.ask("ping", "1", answer="pong")
        with say_hello(Peer(server.addr), "ann", resume="secret of ann") as again:
            assert reason(again) is None
            assert again.ask("ping", "1", answer="pong")


def test_a_secret_too_long_or_of_the_wrong_kind_is_none(start_server: StartServer) -> None:
    server = start_server()
    for secret in ("", None, 5, ["secret"], "x" * 65):
        with (
            say_hello(Peer(server.addr), "ann", resume=secret) as one,
            say_hello(Peer(server.addr), "ann", resume=secret) as two,
        ):
            assert reason(one) is None
            assert reason(two) is None
            assert one.ask("ping", "1", answer="pong")


def test_nobody_is_replaced_by_one_who_is_not_let_in(start_server: StartServer) -> None:
    server = start_server(only_with_token)
    with say_hello(Peer(server.addr), "ann", token=TOKEN, resume="secret") as ann:
        assert reason(ann) is None
        with say_hello(Peer(server.addr), "ann", token="wrong", resume="secret") as thief:
            assert reason(thief) == "wrong token"
        assert ann.ask("ping", "1", answer="pong")


def test_a_name_is_given_once_even_to_many_at_once(start_server: StartServer) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.authenticate
        async def authenticate(name: str) -> None:
            await asyncio.sleep(0.05)

    server = start_server(wire, unique_names=True)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.addr)) for _ in range(10)]
        for peer in peers:
            say_hello(peer, "ann")
        reasons = [reason(peer) for peer in peers]
        assert reasons.count(None) == 1
        assert len(server) == 1


def test_hidden_addresses_are_told_to_nobody(start_server: StartServer, events: Events) -> None:
    server = start_server(recording(events), hide_addresses=True)
    with say_hello(Peer(server.addr), "watcher") as watcher:
        assert reason(watcher) is None
        with say_hello(Peer(server.addr), "ann", group="red") as ann:
            assert reason(ann) is None
            watcher.reserved("GETCLT", "ann")
            watcher.reserved("GETCLT", ann.ip)
            ann.reserved("CHNAME", "anna")
            ann.ask("ping", "1", answer="pong")
            watcher.ask("ping", "1", answer="pong")
        events.wait_for("leave", "anna")
        watcher.send("ping", "2")
        seen = watcher.read_through(b"$MSG$2")
    assert b"127.0.0.1" not in seen
    assert str(ann.addr[1]).encode() not in seen


def test_tokens_are_never_logged(start_server: StartServer, events: Events) -> None:
    """Whatever goes wrong around them, with everything logged that there is to log."""

    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.authenticate
        def authenticate(request: Any) -> None:
            events.add("asked", str(request))
            if request.name == "rejected":
                raise hisock.Reject("no")
            if request.name == "error":
                raise RuntimeError(f"cannot decide about {request}")

        server.on("join")(lambda client: 1 / 0 if client.name == "handler error" else None)

    server = start_server(wire)
    bad_hellos = [
        f'$CLTHELLO${{"name": "cut", "token": "{TOKEN}"',
        f'$CLTHELLO${{"name": 5, "token": "{TOKEN}"}}',
        f'$CLTHELLO${{"token": "{TOKEN}", "name": "\\ud800"}}',
        f'$CLTHELLO${{"name": "x", "token": ["{TOKEN}"]}}',
        f'$CLTHELLO${{"name": "x", "codec": "msgpack", "token": "{TOKEN}"}}',
        f"$CLTHELLO${TOKEN}",
        f'{{"token": "{TOKEN}"}}',
    ]
    with logged("", logging.DEBUG) as everything:
        for name in ("let in", "rejected", "error", "handler error"):
            with contextlib.suppress(ConnectionError):
                hisock.connect(server.addr, name, token=TOKEN).close()
        for hello in bad_hellos:
            with Peer(server.addr) as peer:
                peer.raw(hello.encode())
                peer.write(b"?" * 16)
                peer.rest()
        with Peer(server.addr) as second:
            say_hello(second, "twice", token=TOKEN)
            say_hello(second, "twice", token=TOKEN)
            second.rest()
        eventually(lambda: server.stats().connections == 0, "all are gone")
    assert len(everything.messages) > 8
    formatter = logging.Formatter("%(message)s")
    for _, record in everything.seen:
        text = formatter.format(record)
        for start in range(len(TOKEN) - 8):
            assert TOKEN[start : start + 8] not in text, text
    assert TOKEN not in str(events.seen)


def test_a_server_that_lets_nobody_in_is_not_held_up_by_many(start_server: StartServer) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.authenticate
        def authenticate(name: str) -> None:
            if name != "newcomer":
                raise hisock.Reject

    server = start_server(wire)

    def knock() -> None:
        for _ in range(50):
            with say_hello(Peer(server.addr), "stranger") as peer:
                peer.rest()

    threads = [threading.Thread(target=knock) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        serves(server)
    for thread in threads:
        thread.join(PATIENCE)
    eventually(lambda: server.stats().connections == 0, "all are gone")
    assert server.stats().ended["rejected"] == 200
