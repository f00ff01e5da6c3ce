"""What programs test themselves with: servers and clients in memory, and a clock to move."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.logs import logged

import hisock
from hisock.testing import BlockingTestServer, RecordedFrame, TestServer

pytest_plugins = ["pytester"]


def game() -> hisock.HiSockServer:
    server = hisock.HiSockServer(None, keepalive_interval=30, keepalive_timeout=30)

    @server.on("add")
    def add(client: hisock.ClientInfo, numbers: list[int]) -> int:
        return sum(numbers)

    @server.on("say")
    def say(client: hisock.ClientInfo, text: str) -> None:
        server.send_all_clients("said", f"{client.name}: {text}")

    @server.on("fail")
    def fail(client: hisock.ClientInfo) -> None:
        raise ValueError("a handler that fails")

    @server.on("gather")
    async def gather(client: hisock.ClientInfo) -> str:
        await asyncio.sleep(3)
        return "wood"

    @server.on("count")
    def count(client: hisock.ClientInfo, most: int) -> Iterator[int]:
        yield from range(most)

    return server


async def call_and_broadcast() -> None:
    async with TestServer(game()) as t:
        ada, bob = await t.connect("Ada"), await t.connect("Bob", "lobby")
        assert await ada.call("add", [19, 23], int) == 42
        ada.send("say", "hello")
        assert await bob.recv("said", str) == "Ada: hello"
        assert [client.name for client in t.server.get_all_clients()] == ["Ada", "Bob"]


def test_clients_in_memory_call_and_are_told() -> None:
    asyncio.run(call_and_broadcast())


async def connect_a_swarm() -> None:
    async with TestServer(game()) as t:
        bots = await asyncio.gather(*(t.connect(f"bot {number}") for number in range(20)))
        assert [bot.name for bot in bots] == [f"bot {number}" for number in range(20)]
        bots[0].send("say", "hello")
        # All have settled when one has: what the others wait for is no activity of its own.
        await asyncio.gather(t.settle(), t.clock.advance(1), t.settle())
        heard = [await bot.recv("said", str) for bot in bots]
        assert heard == ["bot 0: hello"] * 20


def test_clients_connect_at_the_same_time() -> None:
    asyncio.run(asyncio.wait_for(connect_a_swarm(), 20))


def test_no_socket_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    with BlockingTestServer(game()) as t:

        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("a socket was opened")

        monkeypatch.setattr(socket, "socket", refuse)
        assert t.connect("Ada").call("add", [1, 2], int) == 3
        monkeypatch.undo()


def test_the_clock_drives_ticks() -> None:
    server = game()
    ticks: list[float] = []

    @server.every(0.5)
    def tick(seconds: float) -> None:
        ticks.append(round(seconds, 6))

    with BlockingTestServer(server) as t:
        assert ticks == []
        t.clock.advance(2.25)
        assert ticks == [0.5, 0.5, 0.5, 0.5]
        before = t.clock.time()
        t.clock.advance(3600)
        assert round(t.clock.time() - before, 3) == 3600
        assert len(ticks) == 7204


def test_the_clock_drives_keepalives_and_clients_answer_them() -> None:
    with BlockingTestServer(game()) as t:
        ada = t.connect("Ada")
        t.clock.advance(300)
        assert not ada.closed
        asked = [frame for frame in t.frames if frame.message == b"$KEEPALIVE$"]
        answered = [frame for frame in t.frames if frame.message == b"$KEEPACK$"]
        assert len(asked) == len(answered) >= 4


def test_a_call_that_is_never_answered_times_out_without_waiting() -> None:
    server = game()
    never = asyncio.Event()

    @server.on("wait")
    async def wait(client: hisock.ClientInfo) -> None:
        await never.wait()

    async def run() -> None:
        async with TestServer(server) as t:
            ada = await t.connect("Ada")
            call = asyncio.ensure_future(ada.call("wait", timeout=60))
            await t.settle()
            assert not call.done()
            await t.clock.advance(60)
            with pytest.raises(TimeoutError):
                await call
            before = t.clock.time()
        # Nor does the end of the block wait for the handler, until the clock goes on by itself.
        assert t.clock.time() - before < 0.5

    asyncio.run(run())


def test_a_call_during_which_the_clock_moves() -> None:
    with BlockingTestServer(game()) as t:
        ada, began = t.connect("Ada"), t.clock.time()
        assert ada.call("gather", type=str, advance=3) == "wood"
        assert t.clock.time() == began + 3
        with pytest.raises(TimeoutError):
            ada.call("gather", timeout=2, advance=2)


def test_a_stream_is_iterated_and_left_early() -> None:
    with BlockingTestServer(game()) as t:
        ada = t.connect("Ada")
        assert list(ada.stream("count", 40, int)) == list(range(40))
        assert next(iter(ada.stream("count", 40, int))) == 0
        assert ada.call("add", [1, 1], int) == 2


def test_frames_are_recorded_both_ways() -> None:
    with BlockingTestServer(game()) as t:
        t.connect("Ada").send("say", "hi")
        said = [frame for frame in t.frames if frame.command is not None]
        assert said == [
            RecordedFrame(1, "to server", "say", b"hi"),
            RecordedFrame(1, "to client", "said", b"Ada: hi"),
        ]
        assert t.frames[0].message is not None
        assert t.frames[0].message.startswith(b"$CLTHELLO$")


def test_messages_are_recorded_that_are_as_large_as_the_server_allows() -> None:
    server = hisock.HiSockServer(None, max_message_size=1 << 25)
    server.on("size")(lambda client, message: len(message))
    with BlockingTestServer(server) as t:
        large = bytes((1 << 24) + 1)
        assert t.connect("Ada").call("size", large, int) == len(large)
        assert max(len(frame.message or b"") for frame in t.frames) > len(large)


def test_an_error_of_a_handler_is_raised_at_the_end() -> None:
    t = BlockingTestServer(game())
    with logged("hisock.server"):
        t.__enter__()
        t.connect("Ada").send("fail")
        with pytest.raises(ValueError, match="that fails"):
            t.__exit__(None, None, None)
    assert [(str(exc), context.command) for exc, context in t.errors] == [
        ("a handler that fails", "fail")
    ]


def test_errors_may_be_expected() -> None:
    with logged("hisock.server"), BlockingTestServer(game(), raise_errors=False) as t:
        ada = t.connect("Ada")
        with pytest.raises(hisock.RemoteError):
            ada.call("fail")
        assert len(t.errors) == 1


def test_a_kicked_client_and_one_that_is_rejected() -> None:
    server = game()

    @server.authenticate
    def check(token: str | None) -> None:
        if token != "secret":
            raise hisock.Reject("no")

    with logged("hisock.server"), BlockingTestServer(server) as t:
        ada = t.connect("Ada", token="secret")
        with pytest.raises(hisock.ConnectionRejected):
            t.connect("Eve", token="wrong")
        server.disconnect_client("Ada")
        t.clock.advance(0)
        assert ada.closed


def test_a_server_can_be_tested_once() -> None:
    server = game()
    with BlockingTestServer(server):
        pass
    with pytest.raises(RuntimeError, match="closed"), BlockingTestServer(server):
        pass


def test_time_does_not_go_back() -> None:
    with BlockingTestServer(game()) as t, pytest.raises(ValueError, match="forward"):
        t.clock.advance(-1)


def test_the_fixture_starts_servers(hisock_server: Callable[..., BlockingTestServer]) -> None:
    t = hisock_server(game())
    assert t.connect("Ada").call("add", [2, 2], int) == 4


def test_the_fixture_fails_a_test_whose_handler_raises(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    pytester.makepyfile(
        """
        import hisock

        def test_it(hisock_server):
            server = hisock.HiSockServer(None)

            @server.on("fail")
            def fail(client):
                raise ValueError("a handler that fails")

            hisock_server(server).connect("Ada").send("fail")
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ValueError: a handler that fails*"])
