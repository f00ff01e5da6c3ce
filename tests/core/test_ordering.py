"""Frames that wait while a peer's async handlers run, and those that overtake them."""

from __future__ import annotations

from collections.abc import Iterator

from hisock._core import protocol
from hisock._core.account import Account, Total, frame_size
from hisock._core.client_info import ClientInfo
from hisock._core.inbox import Inbox
from hisock._core.ordering import DEFERRED_BYTES, DEFERRED_FRAMES, defer
from hisock._core.pausing import Pauses
from hisock.framing import Frame

from .driving import ADA, KeptWaiter, ServerSide

REPLY: Frame = (None, protocol.REPLY + b"7")
QUESTION: Frame = (None, protocol.GET_CLIENT + b"Ada")
CHANGE: Frame = (None, protocol.CHANGE_NAME + b"Bob")


class OrderedPeer:
    """A connection whose handler runs, until the test says that it has ended.

    :ivar raw: frames without a command that it took.
    :ivar reading: whether it reads.
    :ivar ends: whether a frame without a command ends it.
    """

    info: ClientInfo | None = ADA

    def __init__(self, side: ServerSide) -> None:
        self.side = side
        self.busy = 1
        self.total = Total(10**9)
        self.inbox = Inbox(Account(self.total), Pauses(self.set_reading))
        self.raw: list[bytes] = []
        self.reading = True
        self.ends = self.ended = False

    def take_raw(self, payload: bytes) -> None:
        self.raw.append(payload)
        if self.ends:
            self.ended = True
            self.inbox.take_all()

    def set_reading(self, reading: bool) -> None:
        assert reading != self.reading
        self.reading = reading

    def defer(self, frames: Iterator[Frame]) -> None:
        defer(self, self.side.events, frames)

    def send(self, *frames: Frame) -> None:
        self.defer(iter(frames))

    def popped(self) -> list[Frame]:
        frames = []
        while (frame := self.inbox.pop()) is not None:
            frames.append(frame)
        return frames


def make_peer() -> OrderedPeer:
    side = ServerSide()
    side.events.on("handled")(lambda client, message: None)
    return OrderedPeer(side)


def test_what_has_a_handler_waits_in_order() -> None:
    peer = make_peer()
    frames: list[Frame] = [("handled", b"1"), ("handled", None), CHANGE, ("handled", b"22")]
    peer.send(*frames[:2])
    peer.send(*frames[2:])
    assert peer.total.size == sum(frame_size(*frame) for frame in frames)
    assert peer.popped() == frames
    assert (len(peer.inbox), peer.total.size, peer.inbox.changes) == (0, 0, 0)


def test_what_handlers_may_wait_for_overtakes() -> None:
    peer = make_peer()
    waiter = KeptWaiter()
    peer.side.waiting.add(("asked", None), waiter)
    peer.send(("handled", b"1"), ("asked", b"2"), REPLY, ("nobody's", b"3"), (None, None))
    assert waiter.messages == [b"2"]
    assert peer.raw == [REPLY[1]]
    assert [frame.command for frame in peer.side.waiting.take_all()] == ["nobody's"]
    assert peer.popped() == [("handled", b"1"), (None, None)]


def test_with_a_wildcard_only_what_is_waited_for_overtakes() -> None:
    peer = make_peer()
    peer.side.events.on("*")(lambda client, command, message: None)
    waiter = KeptWaiter()
    peer.side.waiting.add(("asked", None), waiter)
    peer.send(("other", b"1"), ("asked", b"2"))
    assert waiter.messages == [b"2"]
    assert peer.popped() == [("other", b"1")]


def test_who_a_client_is_waits_for_its_changes() -> None:
    peer = make_peer()
    peer.send(QUESTION, CHANGE, QUESTION)
    assert peer.raw == [QUESTION[1]]
    assert peer.popped() == [CHANGE, QUESTION]


def test_reading_pauses_while_many_frames_wait() -> None:
    peer = make_peer()
    peer.send(*[("handled", b"")] * DEFERRED_FRAMES)
    assert peer.reading
    peer.send(("handled", b""), ("handled", b""))
    assert not peer.reading
    for _ in range(DEFERRED_FRAMES // 2 + 1):
        peer.inbox.pop()
    assert not peer.reading
    peer.inbox.pop()
    assert peer.reading


def test_reading_pauses_while_many_bytes_wait() -> None:
    peer = make_peer()
    peer.send(("handled", bytes(DEFERRED_BYTES)), ("handled", b"1"))
    assert not peer.reading
    peer.inbox.pop()
    assert peer.reading


def test_nothing_is_handled_behind_a_frame_that_ends_the_connection() -> None:
    peer = make_peer()
    peer.ends = True
    peer.send(("handled", b"1"), REPLY, REPLY, ("handled", b"2"))
    assert peer.raw == [REPLY[1]]
    assert (len(peer.inbox), peer.total.size) == (0, 0)
