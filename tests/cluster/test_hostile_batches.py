"""What is not a batch of this cluster is dropped, counted, and hurts nobody."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.memory import on_virtual_loop

import hisock
from cluster.servers import game, join, link, me, plane
from hisock._cluster.batch import (
    PUBLISHER,
    BadBatch,
    Head,
    Sealer,
    message_entry,
    open_entries,
    record_entry,
)
from hisock._cluster.link import NodeHello
from hisock._cluster.records import Beat, GivenUp, Named, Order, Piece, Question, entry_of
from hisock.framing import build_command

KEY = b"k" * 32
STRANGER = "00000000000000ff"


def batch(
    *entries: bytes, key: bytes | None = None, number: int = 1, flags: int = 0, age: float = 0.0
) -> bytes:
    sent = int((time.time() - age) * 1000)
    return Sealer("default", key).seal(Head(STRANGER, 1, "", number, 0, sent, flags), entries)


def refused(server: hisock.HiSockServer) -> int:
    stats = server.stats().cluster
    assert stats is not None
    return stats.refused


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_bytes_that_are_no_batch_are_refused(data: bytes) -> None:
    with pytest.raises(BadBatch):
        open_entries(Sealer("default", KEY).open(data)[1])


def test_a_batch_is_opened_with_its_own_key_only_and_as_it_was_made() -> None:
    head = Head(STRANGER, 3, "00000000000000aa", 5, 6, 7)
    sealed = Sealer("a", KEY).seal(head, [message_entry("gred", b"frame") or b""])
    opened, body = Sealer("a", KEY).open(sealed)
    assert (opened, open_entries(body)) == (head, [("gred", b"frame")])
    for other in (Sealer("b", KEY), Sealer("a", b"x" * 32), Sealer("a", None)):
        with pytest.raises(BadBatch):
            other.open(sealed)
    for place in range(len(sealed)):
        wrong = bytearray(sealed)
        wrong[place] ^= 1
        with pytest.raises(BadBatch):
            Sealer("a", KEY).open(bytes(wrong))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"x" * 500,
        batch(b"12      short"),
        batch(b"x" * 20),
        batch(record_entry(b"B", b"\xc1")),
        batch(record_entry(b"O", b"\x93\xa4kick\x01\x01")),
        batch(record_entry(b"D", b"\x92\x01\xdd\xff\xff\xff\xff")),
    ],
    ids=["empty", "noise", "cut", "no frame", "no record", "wrong type", "claimed length"],
)
def test_a_bad_batch_is_dropped_as_a_whole_and_the_next_is_heard(bad: bytes) -> None:
    async def main() -> None:
        async with game(2) as made:
            one, two = made.servers
            peer = await join(one, "a")
            plane(one).node.received(bad)
            assert refused(one) == 1
            two.send_all_clients("n", "1")
            await asyncio.sleep(0.1)
            assert peer.named("n") == [b"1"]

    on_virtual_loop(main())


def test_kinds_that_are_not_known_are_counted_and_the_rest_of_the_batch_is_taken() -> None:
    async def main() -> None:
        async with game(1) as made:
            one = made.servers[0]
            peer = await join(one, "a")
            frame = message_entry("*", build_command("n", b"1")) or b""
            nobody = ["?", "c", "c" + "9" * 5000, "c-1", "g", "r"]
            strange = [message_entry(target, b"strange") or b"" for target in nobody]
            entries = [record_entry(b"z", b"later version"), *strange, frame]
            plane(one).node.received(batch(*entries, flags=PUBLISHER))
            await asyncio.sleep(0.1)
            assert peer.named("n") == [b"1"]
            stats = one.stats().cluster
            assert stats is not None
            assert stats.unknown == 1

    on_virtual_loop(main())


def test_with_a_key_nothing_else_is_heard_and_nothing_twice() -> None:
    async def main() -> None:
        async with game(2, cluster={"key": KEY}) as made:
            one, two = made.servers
            peer = await join(one, "a")
            assert two.send_client("a", "n", "0") is None
            await asyncio.sleep(0.1)
            caught: list[bytes] = []
            there = link(one)
            hear = there._receiver.received
            there._receiver.received = lambda data: (caught.append(data), hear(data))  # type: ignore[method-assign,func-returns-value,assignment] # a wire-tap
            two.send_client("a", "n", "1")
            await asyncio.sleep(0.1)
            for data in caught * 2:
                hear(data)
            entry = message_entry("*", build_command("n", b"2")) or b""
            for flags in (0, PUBLISHER):
                hear(batch(entry, flags=flags))
                hear(batch(entry, flags=flags, key=b"x" * 32))
            hear(batch(entry, flags=PUBLISHER, key=KEY, age=120))
            hear(batch(entry, flags=PUBLISHER, key=KEY, number=5))
            hear(batch(entry, flags=PUBLISHER, key=KEY, number=5))
            await asyncio.sleep(0.1)
            assert peer.named("n") == [b"0", b"1", b"2"]
            stats = one.stats().cluster
            assert stats is not None
            assert (stats.refused, stats.repeated >= 3) == (4, True)

    on_virtual_loop(main())


@pytest.mark.parametrize(
    ("wrong", "options"),
    [
        ("header_len", {"header_len": 8}),
        ("codec", {"codec": "msgpack"}),
        ("unique_names", {"unique_names": True}),
    ],
)
def test_a_server_that_cannot_be_one_of_them_is_refused(
    wrong: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with game(1) as made:
            await made.add(**options)
            await asyncio.sleep(3)
            assert [len(server.cluster.nodes) for server in made.servers] == [1, 1]

    on_virtual_loop(main())
    assert f"its {wrong} is" in caplog.text


def test_publishers_send_kick_and_look_up_without_being_a_server() -> None:
    async def main() -> None:
        async with game(2) as made:
            one, two = made.servers
            peers = [await join(one, "a", group="red"), await join(two, "b", group="red")]
            twins = [await join(one, "twin"), await join(two, "twin")]
            frame = build_command("n", b"1")
            wants = [
                message_entry("gred", frame) or b"",
                entry_of(Named("send", ["twin", "b"], frame)),
                entry_of(Named("kick", ["a"])),
                entry_of(Order("kick", 1)),
                entry_of(Beat(1, 1)),
                entry_of(GivenUp(1)),
            ]
            for server in made.servers:
                plane(server).node.received(batch(*wants, flags=PUBLISHER))
            await asyncio.sleep(0.2)
            assert [len(peer.named("n")) for peer in peers] == [1, 2]
            assert sum(len(peer.named("n")) for peer in twins) == 1
            assert [peer.ended for peer in (*peers, *twins)] == [True, False, False, False]
            assert one.cluster.me.node == plane(one).node.hello.node
            assert plane(one).node.hello.incarnation == 1

    on_virtual_loop(main())


def test_strangers_cost_a_bounded_amount_of_memory() -> None:
    async def main() -> None:
        async with game(1) as made:
            node = plane(made.servers[0]).node
            for number in range(3000):
                head = Head(f"{number + 1:016x}", 1, "", 1, 0, 0)
                node.received(Sealer("default", None).seal(head, [entry_of(Question(1, 0, "x"))]))
                head = msgspec.structs.replace(head, flags=PUBLISHER)
                node.received(Sealer("default", None).seal(head, [entry_of(Piece(0, 9, b"x"))]))
            assert len(node.others) == 0
            assert len(node._strangers) <= 1024
            assert len(node._incoming._publishers) <= 1024

    on_virtual_loop(main())


def test_pieces_are_put_together_up_to_a_bound_and_dropped_with_what_is_lost() -> None:
    async def main() -> None:
        async with game(2) as made:
            one, two = made.servers
            peer = await join(two, "b")
            turn = [0]

            def lose(sender: str, receiver: str) -> bool:
                turn[0] += sender == me(one)
                return sender == me(one) and turn[0] == 2

            made.network.lose = lose
            one.send_client("b", "large", bytes(1_000_000))
            one.send_client("b", "n", "1")
            await asyncio.sleep(0.5)
            assert (peer.named("large"), peer.named("n")) == ([], [b"1"])
            made.network.lose = lambda sender, receiver: False
            one.send_client("b", "large", bytes(1_000_000))
            await asyncio.sleep(0.5)
            assert [len(message or b"") for message in peer.named("large")] == [1_000_000]
            hello = NodeHello(node=STRANGER, app="default", header_len=16, codec="json")
            node = plane(two).node
            node.received(batch(entry_of(hello)))
            for index in range(400):
                piece = entry_of(Piece(index, 1000, bytes(200_000)))
                node.received(batch(piece, number=index + 2))
            assert node.others[STRANGER]._pieces_size < 80_000_000

    on_virtual_loop(main())
