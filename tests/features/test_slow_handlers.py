"""Handlers that hold the loop: they are named in the log, and counted."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from typing import Any

import pytest
from support.fixtures import MakeServer
from support.logs import logged

import hisock
from hisock._runtime import watchdog

#: Seconds that a handler here holds the loop; the limit is 0.1.
HELD = 0.5


@pytest.fixture
def server(make_server: MakeServer) -> hisock.ThreadedHiSockServer:
    server = make_server()

    @server.on("hold")
    def hold(client: hisock.ClientInfo, how: str) -> None:
        time.sleep(HELD)

    @server.on("hold later")
    async def hold_later(client: hisock.ClientInfo, how: str) -> None:
        await asyncio.sleep(0)
        time.sleep(HELD)  # noqa: ASYNC251 - what nobody should do

    @server.on("wait")
    async def wait(client: hisock.ClientInfo, how: str) -> None:
        await asyncio.sleep(HELD)

    @server.on("wait in a thread", threaded=True)
    def wait_in_a_thread(client: hisock.ClientInfo, how: str) -> None:
        time.sleep(HELD)

    @server.on("turn")
    async def turn(client: hisock.ClientInfo, how: str) -> None:
        end = time.monotonic() + HELD
        while time.monotonic() < end:  # noqa: ASYNC110 - it is busy, and lets others run
            await asyncio.sleep(0)

    server.start()
    return server


@pytest.mark.parametrize(("command", "name"), [("hold", "hold"), ("hold later", "hold_later")])
def test_a_handler_that_holds_the_loop_is_named_and_counted_once(
    server: hisock.ThreadedHiSockServer, command: str, name: str
) -> None:
    with hisock.connect(server.addr) as client, logged("hisock.server") as log:
        client.call(command, "x")
        log.wait_for_text(f"{name} has held the loop for more than 100 ms, now in {__file__}:")
    [(slow, times)] = server.stats().slow.items()
    assert slow.rpartition(".")[2] == name
    assert times == 1


@pytest.mark.parametrize("command", ["wait", "wait in a thread", "turn"])
def test_one_that_lets_others_run_is_not(server: hisock.ThreadedHiSockServer, command: str) -> None:
    with hisock.connect(server.addr) as client:
        client.call(command, "x")
    assert server.stats().slow == {}


def test_many_quick_messages_in_one_batch_are_no_slow_handler(make_server: MakeServer) -> None:
    server = make_server()
    done = []

    @server.on("quick")
    def quick(client: hisock.ClientInfo, number: int) -> None:
        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            pass
        done.append(number)

    server.start()
    with hisock.connect(server.addr) as client:
        for number in range(300):
            client.send("quick", number)
        client.call("quick", 300, timeout=30)
    assert len(done) == 301
    assert server.stats().slow == {}


def test_a_closed_server_is_watched_no_longer(make_server: MakeServer) -> None:
    before = {thread for thread in threading.enumerate() if thread.name == "hisock-watchdog"}
    server = make_server()
    server.start()
    server.close()
    after = {thread for thread in threading.enumerate() if thread.name == "hisock-watchdog"}
    assert after <= before


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="collects no garbage inside of calls")
@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_collected_while_frames_are_looked_up(
    monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    seen: list[bool] = []
    look = sys._current_frames

    def looking() -> Any:
        seen.append(gc.isenabled())
        return look()

    monkeypatch.setattr(sys, "_current_frames", looking)
    if not enabled:
        gc.disable()
    try:
        assert watchdog.frame_of(threading.get_ident()) is not None
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
    assert seen
    assert not any(seen)
