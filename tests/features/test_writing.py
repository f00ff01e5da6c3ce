"""Whom the server writes to in one turn of the loop, and in which order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from support import Events, Peer, command_frame
from support.fixtures import MakePeer, MakeServer

import hisock
from hisock._runtime import loops
from hisock._server import flushing

CROWD = 200
MOST_WRITES = 64  # a turn


@pytest.fixture(params=["asyncio", "auto"])
def server(
    request: pytest.FixtureRequest, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> Any:
    monkeypatch.setattr(flushing, "_LONG", float("inf"))  # however slow the machine is
    server = make_server(loop=request.param, announce="group")
    # Gathered announcements are written past the line, 20 ms after a join.
    server._hub.announcements.window = 0
    return server


def crowd(server: hisock.ThreadedHiSockServer, make_peer: MakePeer) -> list[Peer]:
    """Peers that hear of nobody but themselves."""
    return [make_peer(server, group=str(number)) for number in range(CROWD)]


def waiting(server: hisock.HiSockServer) -> int:
    """For how many clients something waits."""
    return sum(server.backlog(client) > 0 for client in server.get_all_clients())


def each_turn(server: hisock.HiSockServer, look: Callable[[int], bool]) -> None:
    """Call a function in each turn of the loop, with how many wait, until it returns false."""

    def turn() -> None:
        if look(waiting(server)):
            server._hub.loop.call_soon(turn)

    server._hub.loop.call_soon(turn)


def test_a_frame_for_many_is_written_in_several_turns(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, events: Events
) -> None:
    """So the loop reads in between, however many there are to write to."""

    @server.on("all")
    def to_all(client: hisock.ClientInfo) -> None:
        def look(left: int) -> bool:
            lefts.append(left)
            if not left:
                events.add("written", lefts)
            return bool(left)

        lefts: list[int] = []
        server.send_all_clients("news", "it rains")
        each_turn(server, look)

    server.start()
    peers = crowd(server, make_peer)
    peers[0].send("all")
    lefts = events.wait_for("written")[1]
    written = [before - after for before, after in itertools.pairwise([CROWD, *lefts])]
    assert max(written) == MOST_WRITES
    assert sum(written) == CROWD
    for peer in peers:
        assert peer.read().command == "news"


def test_what_is_sent_meanwhile_comes_after_it_and_to_everybody(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    @server.on("all")
    def to_all(client: hisock.ClientInfo) -> None:
        def look(left: int) -> bool:
            if 0 < left < CROWD:
                server.send_all_clients("second")
                return False
            return True

        server.send_all_clients("first")
        each_turn(server, look)

    server.start()
    peers = crowd(server, make_peer)
    peers[0].send("all")
    for peer in peers:
        assert [peer.read().command, peer.read().command] == ["first", "second"]


def test_clients_ask_and_are_answered_while_others_wait_in_line(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer
) -> None:
    server.on("all")(lambda client: server.send_all_clients("news"))
    server.on("ask")(lambda client: server.send_client(client, "answer"))
    server.start()
    peers = crowd(server, make_peer)
    for peer in peers:
        peer.send("ask")
        peer.send("all")
        peer.send("ask")
    for peer in peers:
        got = [peer.read().command for _ in range(CROWD + 2)]
        assert (got.count("news"), got.count("answer")) == (CROWD, 2)
        assert got.index("answer") <= CROWD


@pytest.mark.parametrize("size", [64 * 1024, 16 * 1024], ids=["all at once", "in bursts"])
def test_who_sends_much_waits_in_line_with_the_others(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, events: Events, size: int
) -> None:
    """Else what one client sends is read anew between every few that are written to."""
    noise = command_frame("noise", bytes(64))
    flood = noise * (size // len(noise) + 1)
    heard = 0

    @server.on("noise")
    def hear(client: hisock.ClientInfo) -> None:
        nonlocal heard
        heard += 1

    @server.on("all")
    def to_all(client: hisock.ClientInfo) -> None:
        def look(left: int) -> bool:
            if left and left < many:
                flooder.write(flood)  # here again in each turn of the loop
                turns.append(heard)
            elif not left:
                events.add("written", turns)
            return bool(left)

        turns: list[int] = []
        server.send_all_clients("news")
        each_turn(server, look)

    server.start()
    peers = crowd(server, make_peer) + crowd(server, make_peer)
    many = len(peers)
    flooder = peers[1]
    peers[0].send("all")
    turns = events.wait_for("written")[1]
    assert len(turns) >= many // MOST_WRITES - 1
    most = 64 * 1024 // len(noise) + 1
    assert turns[-1] - turns[0] <= most, "more than one read of it while others waited"


def test_newest_states_take_one_place_in_line_however_many_they_are(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, events: Events
) -> None:
    """Else whoever has states sent without end keeps everybody else waiting."""

    @server.on("state")
    def state(client: hisock.ClientInfo) -> None:
        def look(left: int) -> bool:
            lefts.append(left)
            if not left:
                events.add("written", lefts)
            return bool(left)

        lefts: list[int] = []
        for number in range(100 * MOST_WRITES):
            server.send_client(client, "state", number, latest="state")
        server.send_client(other, "news")
        each_turn(server, look)

    server.start()
    first, second = make_peer(server, group="1"), make_peer(server, group="2")
    other = second.addr
    first.send("state")
    assert events.wait_for("written")[1] == [2, 0]
    assert first.read().message == str(100 * MOST_WRITES - 1).encode()
    assert second.read().command == "news"


def test_one_that_cannot_be_written_to_keeps_no_other_waiting(
    server: hisock.ThreadedHiSockServer, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flushing, "_MOST_WRITES", 2)

    class Broken:
        def __init__(self, writer: Any) -> None:
            self.writer, self.transport = writer, writer._transport
            writer._transport = self

        def write(self, chunk: bytes) -> None:
            self.writer._transport = self.transport
            raise MemoryError

    @server.on("all")
    def to_all(client: hisock.ClientInfo) -> None:
        Broken(server._registry.find("Ada").writer)
        server.send_all_clients("news")

    server.start()
    peers = [make_peer(server, name, group=name) for name in ("Ada", "Bob", "Cleo", "Dan")]
    peers[3].send("all")
    assert [peer.read().command for peer in peers[1:]] == ["news"] * 3


class Sink(asyncio.Transport):
    """Notes what it is given, as transports of asyncio that join what comes in one call."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))


class Gatherer(Sink):
    """The same, as transports that give the system several chunks in one call."""

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.written.append(b"".join([b"|", *list_of_data]))


def test_long_chunks_are_not_joined_where_that_would_copy_them() -> None:
    kib = 1024
    chunks = [b"a" * 30, b"b" * 1024 * kib, b"c" * 96 * kib, b"d" * 30, b"e" * 128 * kib, b"f"]
    sink = Sink()
    loops.write_chunks(sink, chunks)
    assert b"".join(sink.written) == b"".join(chunks)
    assert [len(written) for written in sink.written] == [
        30 + 64 * kib,
        960 * kib,
        96 * kib + 30 + 64 * kib,
        64 * kib,
        1,
    ]
    sink.written.clear()
    loops.write_chunks(sink, [b"a", b"b" * 128 * kib])
    assert [len(written) for written in sink.written] == [1 + 64 * kib, 64 * kib]
    sink.written.clear()
    loops.write_chunks(sink, [b"a", b"b"])
    assert sink.written == [b"ab"]


@pytest.mark.parametrize("joins", [False, True])
def test_a_transport_that_gathers_gets_all_in_one_call(
    monkeypatch: pytest.MonkeyPatch, joins: bool
) -> None:
    """Unless it is one of asyncio whose `writelines` never says that it is behind."""
    monkeypatch.setattr(loops, "_NEVER_PAUSES", joins)
    gatherer = Gatherer()
    loops.write_chunks(gatherer, [b"a", b"b"])
    assert gatherer.written == [b"|ab"]
    monkeypatch.setattr(Gatherer, "__module__", "asyncio.selector_events")
    loops.write_chunks(gatherer, [b"a", b"b"])
    assert gatherer.written[1] == (b"ab" if joins else b"|ab")
