"""Announcements for clients that are behind are kept once for all, and none too many is sent."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.memory import MemoryPeer, on_virtual_loop, settle

import hisock
from hisock._server import held_back
from hisock._server.held_back import HeldBack

from .scripted import MODEL

ALL = 10**9


class Views(RuleBasedStateMachine):
    """Four clients that fall behind and read again, and the strangers that each knows of."""

    def __init__(self) -> None:
        super().__init__()
        # So that what nobody lacks any more is looked for in short stories too.
        self.few = mock.patch.object(held_back, "_FEW", 2)
        self.few.start()
        self.held: Any = HeldBack()
        self.there: set[int] = set()
        self.strangers = 0
        self.views: list[set[int]] = [set() for _ in range(4)]

    def announce(self, joined: bool, about: int) -> None:
        frame = b"%+d" % (about if joined else -about)
        self.held.add(None, joined, about, frame)
        for number in range(4):
            if number not in self.held:
                self.hear(number, frame)

    def hear(self, number: int, frame: bytes) -> None:
        about, view = int(frame), self.views[number]
        if about > 0:
            assert about not in view
            view.add(about)
        else:
            view.remove(-about)

    @rule()
    def join(self) -> None:
        self.strangers += 1
        self.there.add(self.strangers)
        self.announce(True, self.strangers)

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        about = data.draw(st.sampled_from(sorted(self.there)))
        self.there.remove(about)
        self.announce(False, about)

    @rule(number=st.integers(0, 3))
    def fall_behind(self, number: int) -> None:
        if number not in self.held:
            self.held.begin(number, None)

    @rule(number=st.integers(0, 3), most=st.sampled_from([1, 2, ALL]))
    def read(self, number: int, most: int) -> None:
        if number in self.held:
            for frame in self.held.take(number, most, ALL):
                self.hear(number, frame)
            if not self.held.lacks(number):
                self.held.end(number)

    @invariant()
    def who_is_not_behind_knows_all(self) -> None:
        for number, view in enumerate(self.views):
            assert number in self.held or view == self.there

    def teardown(self) -> None:
        self.few.stop()
        for number in range(4):
            while number in self.held:
                self.read(number, ALL)
        self.who_is_not_behind_knows_all()
        assert len(self.held) == 0


TestViews = Views.TestCase
TestViews.settings = MODEL


def test_strangers_that_come_and_go_are_kept_for_nobody() -> None:
    held: Any = HeldBack()
    held.begin("never reads", None)
    for number in range(5000):
        held.begin("reads now and then", None)
        held.add(None, True, number, b"joined")
        held.begin("came meanwhile", None)
        held.add(None, False, number, b"left")
        assert held.take("reads now and then", ALL, ALL) == []
        assert held.take("came meanwhile", ALL, ALL) == [b"left"]
        assert len(held) < 200
    assert held.take("never reads", ALL, ALL) == []


def test_a_portion_has_a_bounded_number_of_frames_and_of_bytes() -> None:
    held: Any = HeldBack()
    held.begin("Ada", None)
    for number in range(10):
        held.add(None, True, number, b"%d" % number * 10)
    assert held.take("Ada", 3, ALL) == [b"%d" % number * 10 for number in range(3)]
    assert held.take("Ada", 10, 15) == [b"3" * 10, b"4" * 10]
    assert held.lacks("Ada")
    assert len(held.take("Ada", 10, ALL)) == 5
    assert not held.lacks("Ada")


def test_what_was_not_taken_of_a_group_stays_in_order_before_that_of_the_next() -> None:
    held: Any = HeldBack()
    held.begin("Ada", "red")
    for number in range(3):
        held.add("red", True, number, b"%d" % number)
    assert held.take("Ada", 1, ALL) == [b"0"]
    held.add("red", True, 3, b"3")
    held.move("Ada", "blue")
    held.add("red", True, 4, b"4")
    held.add("blue", True, 5, b"5")
    held.move("Ada", "blue")
    frames = []
    while held.lacks("Ada"):
        frames += held.take("Ada", 2, ALL)
    assert b"".join(frames) == b"1235"


def drain(held: Any, client: str) -> list[bytes]:
    frames = []
    while held.lacks(client):
        frames += held.take(client, 3, ALL)
    return frames


def test_a_client_that_never_reads_and_keeps_changing_its_group_is_owed_no_more_for_it() -> None:
    """It was owed the joins and leaves of both groups, without a bound."""
    held: Any = HeldBack()
    held.begin("Ada", "red")
    held.add("red", True, "stays", b"stays")
    for number in range(3000):
        held.add("red", True, number, b"joined")
        held.move("Ada", "blue")
        held.add("blue", True, -number - 1, b"joined")
        held.add("red", False, number, b"left")
        held.move("Ada", "red")
        held.add("blue", False, -number - 1, b"left")
        assert len(held) < 300
    assert drain(held, "Ada") == [b"stays"]


def test_one_who_joins_a_group_and_leaves_another_is_kept_for_nobody() -> None:
    """What was announced to the first group was kept as long as a client of it was behind."""
    held: Any = HeldBack()
    held.begin("Ada", "red")
    held.begin("Bob", "blue")
    for number in range(3000):
        held.add("red", True, number, b"joined")
        held.add("blue", False, number, b"left")
        assert len(held) < 200
    assert drain(held, "Ada") == drain(held, "Bob") == []


def test_a_client_that_changed_its_group_is_told_that_those_it_knows_have_left() -> None:
    held: Any = HeldBack()
    held.begin("Ada", "red")
    held.add("red", True, "Eve", b"Eve joined")
    held.move("Ada", "blue")
    held.move("Ada", "red")
    held.add("red", False, "Bob", b"Bob left")  # who was there before she fell behind
    held.move("Ada", "blue")
    held.add("red", True, "Kim", b"Kim joined")
    held.move("Ada", "red")
    held.add("red", False, "Kim", b"Kim left")  # of whom she has not heard
    assert held.take("Ada", 1, ALL) == [b"Eve joined"]
    held.add("red", False, "Eve", b"Eve left")
    assert drain(held, "Ada") == [b"Bob left", b"Eve left"]


def joins(peer: MemoryPeer) -> list[str]:
    """The names of the clients that it was told of."""
    told = [payload for payload in peer.named(None) if payload and payload[:9] == b"$CLTCONN$"]
    return [json.loads(payload[9:])["name"] for payload in told]


async def fall_behind(server: hisock.HiSockServer, peer: MemoryPeer) -> None:
    peer.transport.pause_reading()
    while not peer.connection.writer.paused:
        server.send_client(peer.addr, "fill", bytes(100_000))
        await settle()


def test_many_slow_clients_share_what_they_are_not_told_yet() -> None:
    async def main() -> None:
        async with hisock.HiSockServer(("127.0.0.1", 0), keepalive=False) as server:
            slow = [MemoryPeer(server, f"slow {number}") for number in range(10)]
            await settle()
            for peer in slow:
                await fall_behind(server, peer)
            names = [f"guest {number}" for number in range(50)]
            guests = [MemoryPeer(server, name) for name in names]
            await settle()
            assert len(server._hub.announcements._behind) == len(names)
            guests[0].raw(b"$USRCLOSE$")
            await settle()
            assert len(server._hub.announcements._behind) == len(names) - 1
            for peer in slow:
                peer.transport.resume_reading()
            await settle()
            assert len(server._hub.announcements._behind) == 0
            for peer in slow:
                assert joins(peer)[-len(names) + 1 :] == names[1:]
                assert names[0] not in joins(peer)

    on_virtual_loop(main())


def test_a_client_that_changes_its_group_while_it_is_behind_hears_of_both() -> None:
    async def main() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0), keepalive=False, announce="group")
        async with server:
            slow = MemoryPeer(server, "slow", group="red")
            await settle()
            await fall_behind(server, slow)
            for name, group in (("first", "red"), ("not yet", "blue")):
                MemoryPeer(server, name, group=group)
            await settle()
            slow.raw(b"$CHGROUP$blue")
            await settle()
            for name, group in (("second", "blue"), ("no longer", "red")):
                MemoryPeer(server, name, group=group)
            await settle()
            slow.transport.resume_reading()
            await settle()
            assert joins(slow) == ["slow", "first", "second"]

    on_virtual_loop(main())
