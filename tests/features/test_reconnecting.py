"""Clients that come back: to a server that was killed, under load, and as whom they were."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from support import Peer, free_port
from support.events import PATIENCE
from support.fixtures import Run
from support.logs import logged

import hisock

from .clients import LATER, AnyClient, Kind, Watched
from .wire import HandServer

SERVER = Path(__file__).parent / "programs" / "victim_server.py"
# A server that is killed


class Caller(threading.Thread):
    """Calls without a pause, and keeps account of every outcome."""

    def __init__(self, client: AnyClient, start: int) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._number = start
        self.answered = 0
        self.lost = 0
        self.other: list[Any] = []
        self.answered_again = threading.Event()
        self.stop = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stop.is_set():
            self._number += 1
            try:
                reply = self._client.call("double", self._number, int)
            except hisock.ConnectionLost:
                self.lost += 1
                self.stop.wait(0.001)
            except Exception as exc:
                self.other.append(exc)
            else:
                if reply != 2 * self._number:
                    self.other.append((self._number, reply))
                self.answered += 1
                self.answered_again.set()


def test_a_server_killed_and_restarted_under_load_leaves_no_call_unaccounted(
    kind: Kind, run_on_ours: Run
) -> None:
    port = free_port()
    addr = ("127.0.0.1", port)
    server = run_on_ours(SERVER, str(port))
    callers: list[Caller] = []
    try:
        server.wait_line("ready")
        with Watched(kind, addr, "Ada", "red") as watched:
            callers = [Caller(watched.any, n * 1_000_000) for n in range(4)]
            for times in range(1, 4):
                for caller in callers:
                    assert caller.answered_again.wait(PATIENCE)
                server.kill()
                watched.events.wait_for("disconnect", count=times)
                server = run_on_ours(SERVER, str(port))
                server.wait_line("ready")
                watched.events.wait_for("reconnect", count=times)
                for caller in callers:
                    caller.answered_again.clear()
            for caller in callers:
                assert caller.answered_again.wait(PATIENCE)
                caller.stop.set()
            for caller in callers:
                caller.join(PATIENCE)
                assert not caller.is_alive()
                assert caller.other == []
            assert sum(caller.lost for caller in callers) > 0
            assert watched.any.waiting_calls == 0
            assert watched.any.call("who am I", None, list[str]) == ["Ada", "red"]
            assert watched.any.call("how many", None, int) == 1
        names = [name for name, *_ in watched.events.seen]
        assert names == ["disconnect", "reconnect"] * 3
    finally:
        for caller in callers:
            caller.stop.set()
        server.kill()


def test_what_is_sent_without_a_server_arrives_in_order_when_there_is_one(
    kind: Kind, run_on_ours: Run
) -> None:
    port = free_port()
    server = run_on_ours(SERVER, str(port))
    try:
        server.wait_line("ready")
        with Watched(kind, ("127.0.0.1", port), "Ada", offline_buffer=20_000) as watched:
            ada = watched.any
            assert ada.call("how many", None, int) == 1
            server.kill()
            watched.until("disconnect")
            kept = _send_until_refused(ada)
            # A frame has 16 bytes of header, $CMD$tell$MSG$, and some digits.
            assert 20_000 // 40 < kept <= 20_000 // 31
            server = run_on_ours(SERVER, str(port))
            server.wait_line("join Ada")
            watched.until("reconnect")
            assert ada.call("told", None, list[int]) == [*range(kept)]
            ada.send("tell", -1)
            assert ada.call("told", None, list[int]) == [*range(kept), -1]
    finally:
        server.kill()


def _send_until_refused(client: AnyClient) -> int:
    for number in range(100_000):
        try:
            client.send("tell", number)
        except hisock.ConnectionLost:
            return number
    raise AssertionError("everything is kept")


def test_without_a_buffer_what_is_sent_meanwhile_raises(by_hand: HandServer, kind: Kind) -> None:
    with Watched(kind, by_hand.addr, "Ada", reconnect=LATER) as watched:
        by_hand.accept().close()
        watched.until("disconnect")
        ada = watched.any
        assert not ada.client.connected
        assert not ada.closed
        with pytest.raises(hisock.ConnectionLost):
            ada.send("tell", 1)
        with pytest.raises(hisock.ConnectionLost):
            ada.call("double", 1, timeout=None)
        with pytest.raises(hisock.ConnectionLost):
            ada.change_name("Bob")
        with pytest.raises(hisock.ConnectionLost):
            ada._do("get_client", "Bob", timeout=None)
        with pytest.raises(TypeError):
            ada.send("tell", object())
        with pytest.raises(ValueError, match="empty"):
            ada.send("", 1)


def test_whoever_only_calls_hears_of_the_loss_too(by_hand: HandServer) -> None:
    """Nobody reads from a client that was not started, but those who wait for something."""
    with Watched("plain", by_hand.addr, "Ada", reconnect=LATER) as watched:
        by_hand.accept().close()
        with pytest.raises(hisock.ConnectionLost):
            watched.any.call("double", 1)
        with pytest.raises(hisock.ConnectionLost):
            watched.any.call("double", 1)
        assert len(watched.events.named("disconnect")) == 1


def test_a_loss_noticed_by_sending_is_told_to_the_next_that_calls(by_hand: HandServer) -> None:
    with Watched("plain", by_hand.addr, "Ada", reconnect=LATER) as watched:
        by_hand.accept().reset()
        _send_until_refused(watched.any)
        with pytest.raises(hisock.ConnectionLost):
            watched.any.call("double", 1)
        assert len(watched.events.named("disconnect")) == 1


def test_calls_do_not_go_into_the_buffer(by_hand: HandServer, kind: Kind) -> None:
    """A caller is told at once; a call that arrives minutes later would answer nobody."""
    options = {"reconnect": LATER, "offline_buffer": 1_000_000}
    with Watched(kind, by_hand.addr, "Ada", **options) as watched:
        by_hand.accept().close()
        watched.until("disconnect")
        with pytest.raises(hisock.ConnectionLost):
            watched.any.call("double", 1, timeout=None)


def test_a_big_buffer_reaches_a_server_that_reads_slowly(by_hand: HandServer, kind: Kind) -> None:
    with Watched(kind, by_hand.addr, "Ada", offline_buffer=50_000_000) as watched:
        _send_while_away(by_hand, watched, 300)
        with by_hand.accept() as peer:
            watched.until("reconnect")  # what was kept goes out when its handlers have run
            for number in range(300):
                assert _number(peer) == number
            watched.any.send("tell", b"000300")
            assert _number(peer) == 300


@pytest.mark.parametrize("kind", ["plain", "threaded"])
def test_what_could_not_be_handed_over_is_sent_over_the_next_connection(
    by_hand: HandServer, kind: Kind
) -> None:
    with Watched(kind, by_hand.addr, "Ada", offline_buffer=50_000_000) as watched:
        _send_while_away(by_hand, watched, 600)
        with by_hand.accept() as peer:
            watched.until("reconnect")
            assert _number(peer) == 0
            peer.reset()  # the system has taken only a part of it
        with by_hand.accept() as peer:
            watched.until("reconnect", 2)
            # What it had taken is lost; what the client still has is not.
            first = _number(peer)
            for number in range(first + 1, 600):
                assert _number(peer) == number


def _send_while_away(by_hand: HandServer, watched: Watched, count: int) -> None:
    peer = by_hand.accept()
    by_hand.go_away()
    peer.close()
    watched.until("disconnect")
    for number in range(count):
        watched.any.send("tell", b"%06d" % number + bytes(60_000))
    by_hand.come_back()


def _number(peer: Peer) -> int:
    message = peer.wait_for("tell").message
    assert message is not None
    return int(message[:6])


def test_a_client_says_once_when_it_tries_to_come_back_and_why(
    kind: Kind, by_hand: HandServer
) -> None:
    with logged("hisock.client", logging.DEBUG) as said, Watched(kind, by_hand.addr) as watched:
        peer = by_hand.accept()
        by_hand.go_away()
        peer.close()
        watched.until("disconnect")
        failed = "could not reconnect"
        watched.any.pump(lambda: sum(failed in text for text in said.messages) > 2)
        by_hand.come_back()
        with by_hand.accept():
            watched.until("reconnect")
            seen = said.seen  # before this connection is lost as well
    (record,) = (record for _, record in seen if getattr(record, "event", "") == "reconnect_waits")
    assert record.levelno == logging.INFO
    text = record.getMessage()
    assert text.startswith("trying to come back in 0.0")
    assert text.endswith(" s: the server closed the connection")
