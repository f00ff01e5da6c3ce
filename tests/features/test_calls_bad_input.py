"""Clients that get calls wrong: each harms nobody but itself, and nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support import Events, Peer
from support.events import PATIENCE
from support.fixtures import MakeServer
from support.logs import logged
from support.wire import frame as frame_of

import hisock

from .wire import BAD_REPLIES, greet, modern_peer

#: What follows ``$CALL$``, and makes no sense.
BAD_CALLS = [
    b"",
    b"$CMD$add",
    b"1",
    b"1$CMD$",
    b"1$MSG$x",
    b"1$CMD$$CALL$",
    b"1$CMD$\xff\xfe",
    b"-1$CMD$add",
    b"+1$CMD$add",
    b"1.0$CMD$add",
    b" 1$CMD$add",
    b"1 $CMD$add",
    b"1_0$CMD$add",
    b"0x1$CMD$add",
    "٣$CMD$add".encode(),
    b"1" * 21 + b"$CMD$add",
    b"1" * 100_000 + b"$CMD$add",
    b"one$CMD$add",
]


def answer(server: hisock.HiSockServer, events: Events) -> None:
    @server.on("add")
    def add(client: hisock.ClientInfo, numbers: list[int]) -> int:
        return sum(numbers)

    server.on("join")(lambda client: events.add("join", client.name))
    server.on("leave")(lambda client: events.add("leave", client.name))


@pytest.fixture
def server(make_server: MakeServer, events: Events) -> hisock.ThreadedHiSockServer:
    made = make_server()
    answer(made, events)
    made.start()
    return made


@pytest.fixture
def bystander(server: hisock.ThreadedHiSockServer) -> Iterator[hisock.HiSockClient]:
    """Another client, which notices nothing."""
    with hisock.connect(server.addr, "bystander") as client:
        assert client.call("add", [1], int) == 1
        yield client
        assert client.call("add", [2], int) == 2


# At the server


@pytest.mark.parametrize("data", BAD_CALLS, ids=lambda data: repr(data[:20]))
def test_a_call_that_is_none_ends_that_connection(
    server: hisock.ThreadedHiSockServer,
    bystander: hisock.HiSockClient,
    events: Events,
    data: bytes,
) -> None:
    with logged("hisock.server") as log, modern_peer(server.addr, "bad") as peer:
        peer.raw(b"$CALL$7$CMD$add$MSG$[1,2]")
        peer.raw(b"$CALL$" + data)
        assert [f.payload for f in peer.rest() if f.reserved == "REPLY"] == [b"$REPLY$7$MSG$3"]
        events.wait_for("leave", "bad")
        assert "(protocol)" in log.wait_one().getMessage()


@pytest.mark.parametrize("data", BAD_REPLIES, ids=lambda data: repr(data[:20]))
def test_a_reply_that_is_none_ends_that_connection(
    server: hisock.ThreadedHiSockServer,
    bystander: hisock.HiSockClient,
    events: Events,
    data: bytes,
) -> None:
    with logged("hisock.server") as log, modern_peer(server.addr, "bad") as peer:
        peer.raw(b"$REPLY$" + data)
        peer.rest()
        events.wait_for("leave", "bad")
        assert "(protocol)" in log.wait_one().getMessage()


@pytest.mark.parametrize("frame", [b"$CALL$1$CMD$add", b"$REPLY$1", b"$SRVHELLO${}", b"$REJECT$x"])
def test_who_did_not_say_that_it_knows_calls_may_not_send_them(
    server: hisock.ThreadedHiSockServer,
    bystander: hisock.HiSockClient,
    events: Events,
    frame: bytes,
) -> None:
    with Peer.joined(server.addr, "old") as peer:
        peer.raw(frame)
        peer.rest()
        events.wait_for("leave", "old")


def test_a_call_before_the_hello_ends_that_connection(
    server: hisock.ThreadedHiSockServer, bystander: hisock.HiSockClient
) -> None:
    for frame in (b"$CALL$1$CMD$add$MSG$[1]", b"$REPLY$1$MSG$x"):
        with Peer(server.addr) as peer:
            peer.raw(frame)
            assert [f for f in peer.rest() if f.reserved == "REPLY"] == []


def test_replies_that_nobody_waits_for_are_ignored(
    server: hisock.ThreadedHiSockServer, bystander: hisock.HiSockClient
) -> None:
    with modern_peer(server.addr, "peer") as peer:
        for number in (0, 1, 2, 99999999999999999999):
            peer.raw(b"$REPLY$%d$MSG$x" % number)
            peer.raw(b"$REPLY$%d$ERR$x" % number)
            peer.raw(b"$REPLY$%d" % number)
        peer.raw(b"$CALL$1$CMD$add$MSG$[3]")
        assert peer.wait_for(lambda f: f.reserved == "REPLY").payload == b"$REPLY$1$MSG$3"


def test_the_first_reply_to_a_call_counts(
    server: hisock.ThreadedHiSockServer, bystander: hisock.HiSockClient
) -> None:
    with modern_peer(server.addr, "peer") as peer:
        replies: list[Any] = []

        def call() -> None:
            replies.append(server.call_blocking("peer", "x", None, str))
            replies.append(server.call_blocking("peer", "x", None, str))

        thread = threading.Thread(target=call)
        thread.start()
        first = peer.wait_for(lambda f: f.reserved == "CALL").data.partition(b"$")[0]
        peer.raw(b"$REPLY$" + first + b"$MSG$one")
        peer.raw(b"$REPLY$" + first + b"$MSG$another")
        peer.raw(b"$REPLY$" + first + b"$ERR$an error")
        second = peer.wait_for(lambda f: f.reserved == "CALL").data.partition(b"$")[0]
        assert second != first
        peer.raw(b"$REPLY$" + first + b"$MSG$yet another")
        peer.raw(b"$REPLY$" + second + b"$MSG$two")
        thread.join(PATIENCE)
        assert replies == ["one", "two"]


def test_a_number_used_twice_is_answered_twice(server: hisock.ThreadedHiSockServer) -> None:
    with modern_peer(server.addr, "peer") as peer:
        peer.raw(b"$CALL$1$CMD$add$MSG$[1]")
        peer.raw(b"$CALL$1$CMD$add$MSG$[2]")
        for wanted in (b"$REPLY$1$MSG$1", b"$REPLY$1$MSG$2"):
            assert peer.wait_for(lambda f: f.reserved == "REPLY").payload == wanted


def test_one_client_cannot_answer_for_another(server: hisock.ThreadedHiSockServer) -> None:
    with modern_peer(server.addr, "asked") as asked, modern_peer(server.addr, "liar") as liar:
        replies: list[Any] = []

        def call() -> None:
            replies.append(server.call_blocking("asked", "x", None, str))

        thread = threading.Thread(target=call)
        thread.start()
        number = asked.wait_for(lambda f: f.reserved == "CALL").data.partition(b"$")[0]
        for guess in range(20):
            liar.raw(b"$REPLY$%d$MSG$lies" % guess)
        liar.raw(b"$CALL$1$CMD$add$MSG$[1]")
        liar.wait_for(lambda f: f.reserved == "REPLY")  # its lies have been read
        asked.raw(b"$REPLY$" + number + b"$MSG$the truth")
        thread.join(PATIENCE)
        assert replies == ["the truth"]


def test_a_reply_that_does_not_fit_is_the_callers_error_only(
    server: hisock.ThreadedHiSockServer,
) -> None:
    with modern_peer(server.addr, "peer") as peer:
        errors: list[str] = []

        def call() -> None:
            for _ in range(3):
                try:
                    server.call_blocking("peer", "x", None, int)
                except hisock.InvalidTypeCast as exc:
                    errors.append(exc.reason)

        thread = threading.Thread(target=call)
        thread.start()
        for wrong in (b"one", b"\xff", b"[1]"):
            number = peer.wait_for(lambda f: f.reserved == "CALL").data.partition(b"$")[0]
            peer.raw(b"$REPLY$" + number + b"$MSG$" + wrong)
        thread.join(PATIENCE)
        assert len(errors) == 3
        peer.raw(b"$CALL$1$CMD$add$MSG$[3]")
        assert peer.wait_for(lambda f: f.reserved == "REPLY").payload == b"$REPLY$1$MSG$3"


def test_an_error_text_that_is_not_utf_8_is_shown_as_well_as_it_can_be(
    server: hisock.ThreadedHiSockServer,
) -> None:
    with modern_peer(server.addr, "peer") as peer:
        errors: list[str] = []

        def call() -> None:
            try:
                server.call_blocking("peer", "x")
            except hisock.RemoteError as exc:
                errors.append(str(exc))

        thread = threading.Thread(target=call)
        thread.start()
        number = peer.wait_for(lambda f: f.reserved == "CALL").data.partition(b"$")[0]
        peer.raw(b"$REPLY$" + number + b"$ERR$oh \xff no")
        thread.join(PATIENCE)
        assert errors == ["oh \N{REPLACEMENT CHARACTER} no"]


def test_ten_thousand_calls_that_are_never_answered_leave_nothing_behind(
    server: hisock.ThreadedHiSockServer,
) -> None:
    results: list[Any] = []

    @server.on("ask")
    async def ask(client: hisock.ClientInfo) -> None:
        calls = [server.call(client, "x", timeout=0.01) for _ in range(10_000)]
        results.extend(await asyncio.gather(*calls, return_exceptions=True))
        server.send_client(client, "asked")

    with modern_peer(server.addr, "silent") as peer:
        peer.send("ask")
        numbers = set()
        for _ in range(10_000):
            frame = peer.wait_for(lambda f: f.reserved == "CALL")
            numbers.add(frame.data.partition(b"$")[0])
        peer.wait_for("asked")
        assert len(numbers) == 10_000
        assert {type(result) for result in results} == {TimeoutError}
        (connection,) = server._registry
        assert len(connection.calls) == 0
        # The late answers are ignored.
        for number in numbers:
            peer.raw(b"$REPLY$" + number)
        peer.raw(b"$CALL$1$CMD$add$MSG$[3]")
        assert peer.wait_for(lambda f: f.reserved == "REPLY").payload == b"$REPLY$1$MSG$3"


def test_ten_thousand_unknown_commands_are_answered_one_by_one(
    server: hisock.ThreadedHiSockServer, bystander: hisock.HiSockClient
) -> None:
    with modern_peer(server.addr, "peer") as peer:
        calls = b"".join(frame_of(b"$CALL$%d$CMD$no%d" % (n, n)) for n in range(10_000))
        sending = threading.Thread(target=peer.write, args=(calls,))
        sending.start()
        for number in range(10_000):
            reply = peer.wait_for(lambda f: f.reserved == "REPLY")
            assert reply.data.startswith(b"%d$ERR$" % number)
        sending.join(PATIENCE)


def test_a_hello_of_the_future_is_understood(server: hisock.ThreadedHiSockServer) -> None:
    with Peer(server.addr) as peer:
        greet(peer, "Ada", features=["call", "reject", "teleport"], colour="red", codec="json")
        peer.raw(b"$CALL$1$CMD$add$MSG$[3]")
        assert peer.wait_for(lambda f: f.reserved == "REPLY").payload == b"$REPLY$1$MSG$3"


@pytest.mark.parametrize("features", ["call", {"call": True}, [1], 5])
def test_features_that_are_no_list_of_names_are_none(
    server: hisock.ThreadedHiSockServer, features: Any
) -> None:
    """2.0.2 ignores keys that it does not know, whatever they hold."""
    with Peer(server.addr) as peer:
        greet(peer, "Ada", features=features)
        peer.wait_for(lambda f: f.reserved == "CLTCONN")
        with pytest.raises(hisock.NotSupported):
            server.call_blocking("Ada", "x")


def test_a_peer_that_knows_other_features_but_no_calls_is_not_called(
    server: hisock.ThreadedHiSockServer,
) -> None:
    with modern_peer(server.addr, "Ada", features=["reject"]) as peer:
        with pytest.raises(hisock.NotSupported):
            server.call_blocking("Ada", "x")
        server.send_client("Ada", "end")
        while (frame := peer.read()).command != "end":
            assert frame.reserved != "CALL"
