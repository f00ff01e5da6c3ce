"""What a server says of itself, and what Prometheus reads of it."""

from __future__ import annotations

import contextlib
import threading
import urllib.request
from typing import Any

import pytest
from support import Events, Peer, command_frame
from support.events import PATIENCE
from support.fixtures import StartServer
from support.polling import eventually

import hisock

pytest.importorskip("prometheus_client", reason="needs hisock[metrics]")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from hisock.metrics import ServerCollector, serve_metrics

pytestmark = pytest.mark.usefixtures("nothing_left")
Figures = dict[tuple[str, ...], float]


def parse(text: str) -> Figures:
    """Every figure by the name of its metric and the values of its labels."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(*servers: Any) -> Figures:
    registry = CollectorRegistry()
    for each in servers:
        registry.register(ServerCollector(each))
    return parse(generate_latest(registry).decode())


def test_what_went_in_and_out_is_counted(start_server: StartServer) -> None:
    server = start_server(announce="none")
    name = f"127.0.0.1:{server.addr[1]}"
    with Peer(server.addr) as peer:
        hello = b'$CLTHELLO${"name": "ann", "group": null}'
        pings = command_frame("ping", "x" * 100) * 10
        peer.raw(hello)
        peer.write(pings)
        for _ in range(10):
            peer.wait_for("pong")
        figures = scrape(server)
        assert figures["hisock_clients", name] == 1
        assert figures["hisock_connections", name] == 1
        assert figures["hisock_received_messages_total", name] == 11
        assert figures["hisock_received_bytes_total", name] == 16 + len(hello) + len(pings)
        assert figures["hisock_sent_messages_total", name] == 10
        assert figures["hisock_sent_bytes_total", name] == len(pings)
    eventually(lambda: server.stats().connections == 0, "it is gone")
    figures = scrape(server)
    assert figures["hisock_clients", name] == 0
    assert figures["hisock_joins_total", name] == 1
    assert figures["hisock_connections_ended_total", "eof", name] == 1
    # What has gone is still counted.
    assert figures["hisock_received_messages_total", name] == 11
    assert figures["hisock_sent_messages_total", name] == 10


def test_errors_ticks_and_ends_are_counted(start_server: StartServer, events: Events) -> None:
    def wire(server: hisock.ThreadedHiSockServer) -> None:
        server.on("fail")(lambda: 1 / 0)

        @server.every(0.01)
        def heartbeat() -> None:
            events.add("tick")

    server = start_server(wire)
    with Peer.joined(server.addr) as peer:
        peer.write(command_frame("fail") * 3)
        peer.ask("ping", "1", answer="pong")
        peer.write(b"?" * 16)
        peer.rest()
    events.wait_for("tick", count=2)
    figures = scrape({"game": server})
    assert figures["hisock_handler_errors_total", "game"] == 3
    assert figures["hisock_connections_ended_total", "framing", "game"] == 1
    (tick,) = [key[-1] for key in figures if key[0] == "hisock_tick_interval_seconds"]
    assert "heartbeat" in tick
    assert figures["hisock_tick_interval_seconds", "game", tick] == 0.01
    assert figures["hisock_tick_late_seconds", "game", tick] >= 0
    assert figures["hisock_ticks_skipped_total", "game", tick] >= 0
    assert figures["hisock_loop_lag_seconds", "game"] >= 0


def test_incomplete_frames_are_seen(start_server: StartServer) -> None:
    server = start_server()
    with Peer.joined(server.addr) as peer:
        peer.write(b"100000          " + b"x" * 5000)
        eventually(lambda: server.stats().buffered_bytes == 5016, "they are counted")
        assert scrape({"game": server})["hisock_buffered_bytes", "game"] == 5016


def test_several_servers_are_told_apart(start_server: StartServer) -> None:
    lobby, game = start_server(), start_server()
    with Peer.joined(game.addr), Peer.joined(game.addr), Peer.joined(lobby.addr):
        figures = scrape({"lobby": lobby, "game": game})
    assert figures["hisock_clients", "lobby"] == 1
    assert figures["hisock_clients", "game"] == 2


def test_the_same_figures_cannot_be_registered_twice(start_server: StartServer) -> None:
    server = start_server()
    registry = CollectorRegistry()
    registry.register(ServerCollector({"one": server}))
    with pytest.raises(ValueError, match="hisock_clients"):
        registry.register(ServerCollector({"two": server}))


def test_figures_are_served_over_http_as_long_as_the_block_lasts(
    start_server: StartServer,
) -> None:
    server = start_server()
    registry = CollectorRegistry()
    with serve_metrics({"game": server}, port=0, registry=registry) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert parse(answer.read().decode())["hisock_clients", "game"] == 0
    with pytest.raises(OSError):  # noqa: PT011 - urllib's, of several kinds
        urllib.request.urlopen(url, timeout=PATIENCE)
    assert generate_latest(registry) == b""


def test_figures_may_be_read_while_everything_changes(start_server: StartServer) -> None:
    """Before the start, from several threads among clients that come and go, and after the end."""
    server = start_server()
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                scrape(server)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(20):
        with Peer(server.addr) as peer:
            peer.hello(str(number))
            peer.ask("ping", "1", answer="pong")
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    server.close()
    name = f"127.0.0.1:{server.addr[1]}"
    figures = scrape(server)
    assert figures["hisock_joins_total", name] == 20
    assert figures["hisock_connections", name] == 0
    with contextlib.closing(hisock.HiSockServer(("127.0.0.1", 0))) as idle:
        assert scrape({"idle": idle})["hisock_joins_total", "idle"] == 0
