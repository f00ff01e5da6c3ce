"""What is wrong with the messages of one WebSocket ends that one, and nothing else."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable

import pytest
from reliability.watching import MIB, on_linux, resident
from support.polling import eventually
from support.wire import command_frame

import hisock

from .conftest import MakeWebServer
from .web_peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebPeer, message

Join = Callable[..., WebPeer]
FRAME = command_frame("echo", b"good")

#: What is sent, and the close codes that are right for it.
ABUSES: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "text": (message(b"hello", TEXT), (1003,)),
    "text in parts": (message(b"he", TEXT, fin=False), (1003, 1002)),
    "text that is not UTF-8": (message(b"\xff\xfe", TEXT), (1003, 1007)),
    "not masked": (message(FRAME, masked=False), (1002,)),
    "RSV1, as if compressed": (message(FRAME, bits=4), (1002,)),
    "RSV2": (message(FRAME, bits=2), (1002,)),
    "RSV3": (message(FRAME, bits=1), (1002,)),
    "RSV1 on a ping": (message(b"", PING, bits=4), (1002,)),
    "a part that belongs to nothing": (message(FRAME, CONTINUATION), (1002,)),
    "a message within another": (message(b"a", fin=False) + message(FRAME), (1002,)),
    "text within another": (message(b"a", fin=False) + message(b"b", TEXT), (1002, 1003)),
    "a ping in parts": (message(b"", PING, fin=False), (1002,)),
    "a close in parts": (message(b"\x03\xe8", CLOSE, fin=False), (1002,)),
    "a ping of 126 bytes": (message(b"x" * 126, PING), (1002,)),
    "a close of 126 bytes": (message(b"\x03\xe8" + b"x" * 124, CLOSE), (1002,)),
    "opcode 3": (message(b"", 3), (1002,)),
    "opcode 11": (message(b"", 11), (1002,)),
    "opcode 15": (message(b"", 15), (1002,)),
    "claims 1 GiB": (message(b"", claimed=1 << 30), (1009,)),
    "claims a byte too many": (message(b"", claimed=65537), (1009,)),
    "claims 2**63": (message(b"", claimed=1 << 63), (1002, 1009)),
    "claims 2**64-1": (message(b"", claimed=(1 << 64) - 1), (1002, 1009)),
    "a close with half a code": (message(b"\x03", CLOSE), (1002,)),
    "close code 0": (message(struct.pack("!H", 0), CLOSE), (1002, 1000)),
    "close code 999": (message(struct.pack("!H", 999), CLOSE), (1002,)),
    "close code 1005": (message(struct.pack("!H", 1005), CLOSE), (1002, 1000)),
    "close code 1006": (message(struct.pack("!H", 1006), CLOSE), (1002, 1000)),
    "a reason that is not UTF-8": (message(b"\x03\xe8\xff\xfe", CLOSE), (1002, 1007)),
    "a header that is none": (message(b"x" * 16), (1002,)),
    "frames of TCP": (FRAME, (1002, 1009)),
    "HTTP again": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", (1002, 1009)),
}


@pytest.mark.parametrize("abuse", ABUSES)
def test_only_that_peer_ends(server: hisock.ThreadedHiSockServer, join: Join, abuse: str) -> None:
    data, codes = ABUSES[abuse]
    good, bad = join("good"), join("bad")
    bad.say(message(FRAME) + data + message(FRAME))
    assert bad.wait_closed()[0] in codes
    good.wait_for(lambda got: got.reserved == "CLTDISCONN")
    good.send("echo", "still")
    assert good.wait_for("echo").message == b"still"
    assert server.stats().handler_errors == 0


def test_what_came_before_the_abuse_is_handled(
    server: hisock.ThreadedHiSockServer, join: Join
) -> None:
    noted: list[bytes] = []
    server.on("note")(lambda client, message: noted.append(message))
    for data in (message(b"", 3), message(b"x", TEXT), message(b"", bits=1)):
        peer = join()
        peer.say(message(command_frame("note", b"1")) + message(command_frame("note", b"2")) + data)
        peer.wait_closed()
    assert noted == [b"1", b"2"] * 3


def test_a_flood_of_control_frames_costs_nothing(
    server: hisock.ThreadedHiSockServer, join: Join
) -> None:
    flood, good = join(), join()
    for _ in range(20):
        flood.say(message(b"", PONG) * 1000 + message(b"", PING) * 10)
    good.send("echo", "x")
    assert good.wait_for("echo").message == b"x"
    flood.send("echo", "y")
    assert flood.wait_for("echo").message == b"y"


def test_pings_of_a_client_that_reads_no_answers_fill_no_memory(
    server: hisock.ThreadedHiSockServer, join: Join
) -> None:
    flood, good = join(), join()
    for _ in range(40):
        flood.say(message(bytes(125), PING) * 4000)
    good.send("echo", "x")
    assert good.wait_for("echo").message == b"x"
    assert server.stats().queued_bytes < 1024 * 1024


def test_messages_that_have_come_in_part_are_counted(make_web_server: MakeWebServer) -> None:
    server = make_web_server(max_buffered=200_000)
    server.start()
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(WebPeer.in_web(server.addr))
        halves = [stack.enter_context(WebPeer.in_web(server.addr)) for _ in range(6)]
        for half in halves:
            with contextlib.suppress(OSError):
                half.say(message(b"x" * 60_000, BINARY, claimed=65_000))
            if server.stats().ended.get("memory"):
                break
        good.wait_for(lambda got: got.reserved == "CLTDISCONN")
        assert server.stats().ended["memory"] >= 1
        # What is over the limit is counted until the connection that it came by has been ended.
        assert eventually(lambda: 0 < server.stats().buffered_bytes <= 200_000)
        good.send("echo", "x")
        assert good.wait_for("echo").message == b"x"
    server.close()
    assert server.stats().buffered_bytes == 0


def test_a_bad_peer_makes_a_bounded_number_of_lines(
    server: hisock.ThreadedHiSockServer, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(30):
        with WebPeer(server.addr) as peer:
            peer.open()
            peer.say(message(b"", 3))
            peer.wait_closed()
    lines = [record for record in caplog.records if "asyncio" not in record.name]
    assert len(lines) <= 30
    assert {record.name for record in lines} <= {"hisock.server"}


@on_linux
def test_what_follows_an_abuse_is_not_kept(server: hisock.ThreadedHiSockServer, join: Join) -> None:
    """Also not until Python collects garbage, which may be long after the connection."""
    data = message(bytes(4 * MIB))  # 64 KiB are allowed
    before = resident()
    for _ in range(60):
        peer = join()
        with contextlib.suppress(OSError):  # the server has closed it
            peer.say(data)
        peer.close()
    with WebPeer.in_web(server.addr, "last") as last:
        last.send("echo", "served")
        last.wait_for("echo")
        assert resident() - before < 12 * MIB
