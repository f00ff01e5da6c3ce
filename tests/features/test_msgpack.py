"""``codec="msgpack"``: everything that would be JSON, and only where both ends have it."""

from __future__ import annotations

import datetime
import enum
import uuid
from dataclasses import dataclass
from typing import Any

import msgpack
import msgspec
import pytest
from interop.agents import old_client, old_server
from support import Events, OldHiSock, Peer
from support.fixtures import MakeServer
from support.logs import logged

import hisock

from .clients import AnyClient, Kind
from .wire import HandServer, greet, modern_peer


class Colour(enum.Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: float
    y: float
    tags: list[str] = []


@dataclass
class Move:
    who: str
    data: bytes


CASES: list[tuple[Any, Any]] = [
    (list[int], [1, 2, 3]),
    (dict[str, Any], {"a": [None, True, 1.5, "x"]}),
    (dict[int, str], {1: "one"}),
    (Point, Point(1.5, -2.0, ["a"])),
    (Move, Move("Ada", b"\x00\xff$MSG$")),
    (tuple[int, bytes], (1, b"\xff")),
    (list[bytes], [b"\x00\xff", b""]),
    (Colour, Colour.RED),
    (uuid.UUID, uuid.UUID(int=7)),
    (datetime.datetime, datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)),
    (list[Point], [Point(0, 0), Point(1, 1)]),
    (Point | None, Point(1, 2)),
    # Plain text stays plain text.
    (str, "text"),
    (int, -12345678901234567890),
    (float, 0.1),
    (bool, True),
    (bytes, b"\x00\xff"),
]


@pytest.fixture
def server(make_server: MakeServer, events: Events) -> hisock.ThreadedHiSockServer:
    made = make_server(codec="msgpack")
    made.on("join")(lambda client: events.add("join", client.name))
    made.on("message")(lambda client, command, message: events.add(command, message))
    made.start()
    return made


def test_values_go_both_ways(server: hisock.ThreadedHiSockServer, kind: Kind) -> None:
    got: list[Any] = []
    with AnyClient(kind, server.addr, "Ada", codec="msgpack") as client:
        for number, (cast_to, _) in enumerate(CASES):

            def echo(sender: hisock.ClientInfo, message: Any) -> Any:
                got.append(message)
                return message

            echo.__annotations__["message"] = cast_to
            server.on(f"echo {number}")(echo)
        client.start()
        for number, (cast_to, value) in enumerate(CASES):
            assert client.call(f"echo {number}", value, cast_to) == value
            assert type(client.call(f"echo {number}", value, cast_to)) is type(value)
            server.send_client("Ada", f"sent {number}", value)
            assert client.recv(f"sent {number}", cast_to) == value
    assert got == [value for _, value in CASES for _ in range(2)]


def test_what_is_on_the_wire_is_messagepack(
    server: hisock.ThreadedHiSockServer, events: Events
) -> None:
    with modern_peer(server.addr, "Ada", codec="msgpack") as peer:
        server.send_client("Ada", "state", {"x": [1, 2.5, None, "text", b"\xff"]})
        message = peer.wait_for("state").message
        assert msgpack.unpackb(message) == {"x": [1, 2.5, None, "text", b"\xff"]}
        for value, text in (("text", b"text"), (5, b"5"), (0.5, b"0.5"), (True, b"true")):
            server.send_client("Ada", "plain", value)
            assert peer.wait_for("plain").message == text
        # What servers and clients tell of each other stays JSON.
        peer.reserved("GETCLT", "Ada")
        assert peer.read().json == {"ip": list(peer.addr), "name": "Ada", "group": None}
        peer.send("from the peer", msgpack.packb({"y": 1}))
        assert events.wait_for("from the peer")[1] == b"\x81\xa1y\x01"


def test_both_say_so_in_their_hello(server: hisock.ThreadedHiSockServer, kind: Kind) -> None:
    with Peer(server.addr) as peer:
        greet(peer, "Ada", codec="msgpack")
        hello = peer.read()
        assert hello.reserved == "SRVHELLO"
        assert hello.json["codec"] == "msgpack"
    with HandServer() as by_hand:
        peers: list[Peer] = []

        def play() -> None:
            peer = by_hand.take()
            peers.append(peer)
            hello = peer.read().json
            assert hello["codec"] == "msgpack"
            peer.reserved("SRVHELLO", '{"features": ["call", "reject"], "codec": "msgpack"}')

        with by_hand.playing(play):
            AnyClient(kind, by_hand.addr, codec="msgpack").close()
        peers[0].close()


def test_bytes_that_are_no_messagepack_are_the_handlers_error_only(
    server: hisock.ThreadedHiSockServer,
) -> None:
    @server.on("point")
    def point(client: hisock.ClientInfo, point: Point) -> float:
        return point.x

    with modern_peer(server.addr, "Ada", codec="msgpack") as peer:
        for number, wrong in enumerate(
            (b"\xc1", b'{"x": 1, "y": 2}', b"\x81\xa1x", b"\xdd\xff\xff\xff\xff", b"\x81" * 5000)
        ):
            peer.raw(b"$CALL$%d$CMD$point$MSG$" % number + wrong)
            reply = peer.wait_for(lambda f: f.reserved == "REPLY")
            assert reply.data.startswith(b"%d$ERR$" % number)
        peer.raw(b"$CALL$9$CMD$point$MSG$" + msgpack.packb({"x": 1.5, "y": 0.0}))
        assert peer.wait_for(lambda f: f.reserved == "REPLY").payload == b"$REPLY$9$MSG$1.5"


# Mismatches


def test_a_client_with_msgpack_is_told_that_the_server_has_json(
    make_server: MakeServer, events: Events, kind: Kind
) -> None:
    server = make_server()
    server.on("join")(lambda client: events.add("join", client.name))
    server.start()
    with pytest.raises(hisock.ConnectionRejected, match=r"json.*msgpack"):
        AnyClient(kind, server.addr, "Ada", codec="msgpack")
    with AnyClient(kind, server.addr, "Bob") as bob:
        bob.start()
        bob.send("x")
        events.wait_for("join", "Bob")
    assert events.seen == [("join", "Bob")], "who is rejected has never joined"


def test_a_client_with_json_is_told_that_the_server_has_msgpack(
    server: hisock.ThreadedHiSockServer, events: Events, kind: Kind
) -> None:
    def connect() -> None:
        """It may notice when connecting, or when it next relies on the connection."""
        with AnyClient(kind, server.addr, "Ada") as client:
            client.start()
            client.recv("anything")

    with logged("hisock.server") as log:
        with pytest.raises(hisock.ConnectionRejected, match=r"msgpack.*json"):
            connect()
        log.wait_for_text("codec")
    assert events.named("join") == []


def test_start_raises_what_the_server_said(server: hisock.ThreadedHiSockServer) -> None:
    with (
        pytest.raises(hisock.ConnectionRejected, match="msgpack"),
        hisock.connect(server.addr) as client,
    ):
        client.start()


def test_a_client_with_msgpack_is_told_that_a_2_0_2_server_does_not_have_it(
    old_hisock: OldHiSock, kind: Kind
) -> None:
    agent = old_server(old_hisock)
    try:
        with pytest.raises(hisock.ConnectionRejected, match="msgpack"):
            AnyClient(kind, agent.addr, "Ada", codec="msgpack")
    finally:
        agent.end()


def test_a_2_0_2_client_is_sent_away_from_a_server_with_msgpack(
    old_hisock: OldHiSock, server: hisock.ThreadedHiSockServer, events: Events
) -> None:
    with logged("hisock.server") as log:
        agent = old_client(old_hisock, server.addr, "old")
        agent.wait("force_disconnect")
        log.wait_for_text("codec")
        agent.end()
    assert events.named("join") == []


def test_a_codec_that_does_not_exist_is_a_value_error(
    make_server: MakeServer, server: hisock.ThreadedHiSockServer, kind: Kind
) -> None:
    with pytest.raises(ValueError, match="xml"):
        make_server(codec="xml")
    with pytest.raises(ValueError, match="xml"):
        AnyClient(kind, server.addr, codec="xml")
    with Peer(server.addr) as peer:
        greet(peer, "Ada", codec="xml")
        frames = [frame.reserved for frame in peer.rest()]
        assert frames == ["REJECT", "DISCONN"]
