"""Blocking clients that only send: no thread reads, so that sending has to notice the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support import Peer

import hisock

from .wire import HandServer

SOON = hisock.Reconnect(initial=0.01, maximum=0.1)


@pytest.fixture
def ada(by_hand: HandServer) -> Iterator[hisock.HiSockClient]:
    with hisock.connect(by_hand.addr, "Ada", reconnect=SOON, offline_buffer=10_000) as client:
        yield client


def told(peer: Peer, count: int) -> list[int]:
    return [int(peer.wait_for("tell").message or b"") for _ in range(count)]


@pytest.mark.parametrize("cut", [Peer.close, Peer.reset])
@pytest.mark.parametrize("together", [False, True])
def test_what_is_sent_after_the_end_has_arrived_goes_to_the_next_connection(
    by_hand: HandServer,
    ada: hisock.HiSockClient,
    cut: Callable[[Peer], None],
    together: bool,
) -> None:
    peer = by_hand.accept()
    ada.send("tell", 0)
    assert told(peer, 1) == [0]
    cut(peer)
    if together:
        ada.send_many([("tell", number) for number in range(1, 4)])
    else:
        for number in range(1, 4):
            ada.send("tell", number)
    with by_hand.accept() as again:
        assert told(again, 3) == [1, 2, 3]
        ada.send("tell", 4)
        assert told(again, 1) == [4]


def test_a_server_that_will_be_back_gets_what_is_sent_meanwhile(
    by_hand: HandServer, ada: hisock.HiSockClient
) -> None:
    heard: list[str] = []

    @ada.on("said")
    def said(text: str) -> None:
        heard.append(text)

    peer = by_hand.accept()
    peer.send("said", "before")
    peer.reserved("GOAWAY", "0.001")
    peer.close()
    for number in range(3):
        ada.send("tell", number)
    with by_hand.accept() as again:
        assert told(again, 3) == [0, 1, 2]
        again.send("said", "after")
        while len(heard) < 2:
            with pytest.raises(TimeoutError):
                ada.recv("nothing", timeout=0.01)
    assert heard == ["before", "after"]
