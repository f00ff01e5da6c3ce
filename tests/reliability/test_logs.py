"""What is logged says what happened, once, and strangers cannot write in it as they like."""

from __future__ import annotations

import logging
import time

import pytest
from support import Peer, command_frame, frame
from support.fixtures import StartServer
from support.logs import logged
from support.polling import eventually

import hisock
from reliability.watching import serves

pytestmark = pytest.mark.usefixtures("nothing_left")

#: Lines that a flood of whatever kind may cause at once, some of them saying how many more there
#: were, and in each second that it lasts: on a busy machine it lasts long.
FEW, A_SECOND = 450, 20


def test_every_end_is_one_line_with_its_reason(start_server: StartServer) -> None:
    server = start_server()
    with logged("hisock.server", logging.INFO) as log:
        with Peer.joined(server.addr, "polite") as polite:
            polite.reserved("USRCLOSE")
            polite.rest()
        with Peer.joined(server.addr, "rude") as rude:
            rude.write(b"?" * 16)
            rude.rest()
        Peer.joined(server.addr, "gone").reset()
        with Peer.joined(server.addr, "kicked") as kicked:
            server.disconnect_client("kicked")
            kicked.rest()
        eventually(lambda: server.stats().connections == 0, "all are gone")
    for name, kind in {
        "polite": "(left)",
        "rude": "(framing)",
        "gone": "(reset)",
        "kicked": "(kicked)",
    }.items():
        (line,) = [message for message in log.messages if name in message]
        assert kind in line


def test_a_flood_of_bad_connections_is_no_flood_of_lines(start_server: StartServer) -> None:
    server = start_server()
    count = 1000
    began = time.monotonic()
    with logged("hisock.server") as log:
        for _ in range(count):
            with Peer(server.addr) as bad:
                bad.write(b"?" * 16)
                bad.rest()
        serves(server)
    assert server.stats().ended["framing"] == count
    assert len(log.messages) < min(FEW + A_SECOND * (time.monotonic() - began), count)


def test_lines_that_were_withheld_are_counted(start_server: StartServer) -> None:
    server = start_server()
    count = 600
    with logged("hisock.server") as log:
        for _ in range(count):
            with Peer(server.addr) as bad:
                bad.write(b"?" * 16)
                bad.rest()
        # A line may be logged again some time after the flood, and tells of those that were not.
        log.wait_until(lambda seen: any("more connections ended" in text for text, _ in seen))


@pytest.mark.parametrize(
    "sends",
    [
        command_frame("fails", "x") * 3000,
        command_frame("number", "not one") * 3000,
        frame(b"$CHNAME$taken") * 3000,
        frame(b"$GETCLT$twin") * 3000,
        frame(b"$REPLY$5$MSG$x") * 3000,
        frame(b"$CALL$1$CMD$nobody handles this") * 3000,
        frame(b"$KEEPACK$") * 3000,
        command_frame("nobody handles this", "x") * 3000,
    ],
    ids=["errors", "casts", "names", "twins", "replies", "calls", "answers", "unknown"],
)
def test_a_flood_of_messages_is_no_flood_of_lines(start_server: StartServer, sends: bytes) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("fails")
        def fails(client: hisock.ClientInfo) -> None:
            raise RuntimeError("as it always does")

        @server.on("number")
        def number(client: hisock.ClientInfo, value: int) -> None:
            pass

    server = start_server(wire, unique_names=b"CHNAME" in sends)
    hello = b'{"name": "flood", "group": null, "features": ["call", "reject"]}'
    with (
        logged("hisock.server", logging.DEBUG) as log,
        Peer.joined(server.addr, "taken"),
        Peer(server.addr) as flood,
    ):
        flood.raw(b"$CLTHELLO$" + hello)
        flood.write(sends)
        flood.ask("ping", "1", answer="pong")
    assert len(log.messages) < FEW


@pytest.mark.parametrize("name", ["a\nCRITICAL forged", "a\r\x1b[2Jforged", "a\u2028forged"])
def test_a_name_cannot_forge_lines(start_server: StartServer, name: str) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        @server.on("fails")
        def fails(client: hisock.ClientInfo) -> None:
            raise RuntimeError("as it always does")

    server = start_server(wire, unique_names=True)
    with logged("hisock.server", logging.DEBUG) as log, Peer.joined(server.addr, name) as peer:
        peer.send("fails")
        peer.write(frame(b"$CHNAME$" + name.encode()))
        peer.ask("ping", "1", answer="pong")
        peer.write(b"?" * 16)
        peer.rest()
    for message in log.messages:
        assert message.isprintable(), repr(message)


def test_what_is_logged_of_a_stranger_is_short(start_server: StartServer) -> None:
    """However much it sends."""
    large = b"x" * 1_000_000
    server = start_server()
    sends = [
        frame(b"$CMD$a $" + large + b"$"),
        frame(b"$CMD$\xff" + large),
        frame(b"$CLTHELLO$" + large),
        frame(large),
        frame(b"$CHNAME$" + large),
        frame(b"$GETCLT$" + large),
        frame(b"$CALL$1$CMD$$" + large + b"$"),
        frame(b"$CALL$" + large),
        frame(b"$REPLY$" + large),
        frame(b"$DISCONN$" + large),
    ]
    hello = frame(b'$CLTHELLO${"name": "x", "features": ["call"]}')
    with logged("hisock.server", logging.DEBUG) as log:
        for data in sends:
            for start in (b"", hello):
                with Peer(server.addr) as peer:
                    peer.write(start + data)
                    # Some of it is only a message that nobody handles.
                    peer.end_writing()
                    peer.rest()
    assert len(log.messages) >= len(sends)
    assert max(len(message) for message in log.messages) < 1000
