"""Messages that the server confirms: each is handled once and in order, whatever is cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import threading
import time
from pathlib import Path

import pytest
from support import Peer, free_port
from support.events import PATIENCE
from support.fixtures import MakeServer, Run

import hisock

from .clients import LATER, AnyClient, Kind, Watched
from .loops import LOOPBACK
from .wire import HandServer, modern_peer

SERVER = Path(__file__).parent / "programs" / "victim_server.py"
QUICKLY = hisock.Reconnect(initial=0, maximum=0.01)
BUFFER = 1_000_000
FEATURES = ["call", "ack"]


class Cutter:
    """A proxy that cuts each connection after a random number of bytes, in either direction.

    :param cuts: how many connections to cut; those after them last.
    """

    def __init__(self, target: tuple[str, int], seed: str, cuts: int) -> None:
        self._target = target
        self._random = random.Random(seed)
        self.left = cuts
        self._listener = socket.create_server(LOOPBACK)
        self.addr: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                up, down = 1 << 60, 1 << 60
                if self.left:
                    self.left -= 1
                    up, down = self._random.randrange(300, 9000), self._random.randrange(300, 3000)
                for source, target, most in ((client, server, up), (server, client, down)):
                    args = (source, target, most)
                    threading.Thread(target=self._pass_on, args=args, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, most: int) -> None:
        with contextlib.suppress(OSError):
            while most > 0 and (data := source.recv(min(most, 65536))):
                target.sendall(data)
                most -= len(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.mark.parametrize("where", ["loop", "async", "thread"])
def test_each_message_is_handled_once_and_in_order_across_cuts(
    make_server: MakeServer, kind: Kind, where: str
) -> None:
    server = make_server(keepalive=False)
    handled: list[int] = []
    if where == "async":

        @server.on("number")
        async def take_in_task(client: hisock.ClientInfo, number: int) -> None:
            handled.append(number)
    else:

        @server.on("number", threaded=where == "thread")
        def take(client: hisock.ClientInfo, number: int) -> None:
            handled.append(number)

    server.start()
    # Each of the nine cuts elsewhere, and at the same places in each run.
    cutter = Cutter(server.addr, f"{kind} {where}", cuts=0)
    try:
        with Watched(kind, cutter.addr, "Ada", reconnect=QUICKLY, offline_buffer=BUFFER) as ada:
            ada.any.send("here")
            server.recv("here", timeout=PATIENCE)
            cutter.left = 25
            server.disconnect_all_clients(force=True)
            for number in range(2000):
                ada.any.send("number", number, acknowledged=True)
                if number % 50 == 0:
                    ada.any.pump(lambda: True)
                    time.sleep(0.002)  # so that there is something to cut
            ada.any.pump(lambda: not len(ada.any.client._driver.unconfirmed))
        assert sorted(handled) == list(range(2000))
        if where != "thread":  # threads run side by side
            assert handled == list(range(2000))
        assert cutter.left < 25
    finally:
        cutter.close()


def test_a_restart_loses_no_message(kind: Kind, run_on_ours: Run) -> None:
    port = free_port()
    server = run_on_ours(SERVER, str(port))
    try:
        server.wait_line("ready")
        options = {"offline_buffer": BUFFER, "reconnect": QUICKLY}
        with Watched(kind, ("127.0.0.1", port), "Ada", **options) as watched:
            ada = watched.any
            assert ada.call("how many", None, int) == 1
            ada.send("tell", 0, acknowledged=True)
            ada.pump(lambda: not len(ada.client._driver.unconfirmed))
            for number in range(1, 3000):
                ada.send("tell", number, acknowledged=True)
                if number == 1500:
                    server.terminate()
            watched.until("disconnect")
            assert server.wait() == 0
            server = run_on_ours(SERVER, str(port))
            server.wait_line("ready")
            watched.until("reconnect")
            ada.pump(lambda: not len(ada.client._driver.unconfirmed))
            told = ada.call("told", None, list[int])
            # What the first server confirmed is not sent again; all the rest is, in order.
            assert told == list(range(told[0], 3000))
            assert told[0] > 0
    finally:
        server.kill()


def test_a_full_buffer_raises_and_keeps_what_it_has(by_hand: HandServer, kind: Kind) -> None:
    watched = Watched(kind, by_hand.addr, "Ada", reconnect=LATER, offline_buffer=300)
    with watched, _accept(by_hand) as peer:
        ada = watched.any
        kept = _send_until_full(ada)
        assert 2 < kept < 12
        for number in range(1, kept + 1):
            frame = peer.wait_for(lambda f: f.reserved == "SEND")
            assert frame.payload == b"$SEND$%d$CMD$say$MSG$%d" % (number, number - 1)
        peer.reserved("ACK", "2")
        ada.pump(lambda: len(ada.client._driver.unconfirmed) == kept - 2)
        ada.send("say", 1, acknowledged=True)


def _send_until_full(client: AnyClient) -> int:
    for number in range(100):
        try:
            client.send("say", number, acknowledged=True)
        except BufferError:
            return number
    raise AssertionError("everything is kept")


def _accept(by_hand: HandServer) -> Peer:
    """The next client of a server that confirms messages."""
    peer = by_hand.take()
    hello = peer.wait_for(lambda f: f.reserved == "CLTHELLO")
    peer.reserved("SRVHELLO", json.dumps({"features": FEATURES, "codec": "json"}))
    info = {"ip": list(peer.sock.getpeername()), "name": hello.json["name"], "group": None}
    peer.reserved("CLTCONN", json.dumps(info))
    return peer


def test_a_server_that_does_not_confirm_gets_nothing(by_hand: HandServer, kind: Kind) -> None:
    watched = Watched(kind, by_hand.addr, "Ada", offline_buffer=300)
    with watched, by_hand.accept() as peer:
        with pytest.raises(hisock.NotSupported):
            watched.any.send("say", 1, acknowledged=True)
        watched.any.send("done")
        assert peer.wait_for(lambda f: f.command or f.reserved == "SEND").command == "done"


def test_a_client_that_does_not_come_back_cannot_ask_for_it(
    make_server: MakeServer, kind: Kind
) -> None:
    server = make_server()
    server.start()
    with AnyClient(kind, server.addr) as client, pytest.raises(ValueError, match="reconnect"):
        client.send("say", 1, acknowledged=True)


# What a server does


def _confirmed(peer: Peer) -> int:
    return int(peer.wait_for(lambda f: f.reserved == "ACK").payload[len("$ACK$") :])


def test_a_message_is_confirmed_when_its_handler_has_ended(make_server: MakeServer) -> None:
    server = make_server()
    begun, go_on = threading.Event(), threading.Event()

    @server.on("slow", threaded=True)
    def slow(client: hisock.ClientInfo) -> None:
        begun.set()
        go_on.wait(PATIENCE)

    server.start()
    with modern_peer(server.addr, "Ada", features=FEATURES, resume="s") as peer:
        peer.reserved("SEND", "1$CMD$slow")
        assert begun.wait(PATIENCE)
        peer.reserved("SEND", "1$CMD$slow")  # again: it has been begun, and is not done
        assert _confirmed(peer) == 0
        go_on.set()
        assert _confirmed(peer) == 1


@pytest.mark.parametrize(
    ("features", "resume", "data"),
    [
        (FEATURES, "s", "x"),
        (FEATURES, None, "1$CMD$a"),
        (["call"], "s", "1$CMD$a"),
    ],
)
def test_what_is_no_message_ends_the_connection(
    make_server: MakeServer, features: list[str], resume: str | None, data: str
) -> None:
    server = make_server()
    server.start()
    with modern_peer(server.addr, "Ada", features=features, resume=resume) as peer:
        peer.reserved("SEND", data)
        peer.rest()
    assert server.stats().ended["protocol"] == 1


def test_a_gap_ends_the_connection(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    with modern_peer(server.addr, "Ada", features=FEATURES, resume="s") as peer:
        peer.reserved("SEND", "1$CMD$a")
        peer.reserved("SEND", "3$CMD$a")
        peer.rest()
    assert server.stats().ended["protocol"] == 1


@pytest.mark.parametrize("noticed", [True, False])
def test_a_message_waits_for_the_handler_of_the_one_before_across_a_cut(
    make_server: MakeServer, noticed: bool
) -> None:
    server = make_server()
    noted: list[str] = []
    begun, go_on, handled = threading.Event(), threading.Event(), threading.Event()

    @server.on("say")
    async def say(client: hisock.ClientInfo, number: int) -> None:
        noted.append(f"{number} begins")
        begun.set()
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait, PATIENCE)
        noted.append(f"{number} ends")
        if number == 3:
            handled.set()

    server.start()
    with contextlib.ExitStack() as stack:
        peers = [
            stack.enter_context(modern_peer(server.addr, "Ada", features=FEATURES, resume="s"))
        ]
        peers[0].reserved("SEND", "1$CMD$say$MSG$1")
        assert begun.wait(PATIENCE)
        for number in (2, 3):  # the second comes back twice while the first one's handler runs
            if noticed:
                server.disconnect_client("Ada", force=True)
            again = modern_peer(server.addr, "Ada", features=FEATURES, resume="s")
            peers.append(stack.enter_context(again))
            for each in range(1, number + 1):
                again.reserved("SEND", f"{each}$CMD$say$MSG$" + str(each))
            again.reserved("GETCLT", "Ada")  # which does not wait
            again.wait_for(lambda f: f.reserved is None and f.command is None)
        go_on.set()
        assert handled.wait(PATIENCE)
    assert noted == [f"{n} {what}" for n in (1, 2, 3) for what in ("begins", "ends")]
