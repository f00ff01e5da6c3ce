"""Calls to servers, by clients of every kind."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from support import Events, free_port
from support.events import PATIENCE
from support.fixtures import Run
from support.logs import logged

import hisock

from .answering import Point
from .clients import AnyClient, Kind
from .loops import LOOPBACK, on_loops, within
from .wire import HandServer

PROGRAMS = Path(__file__).parent / "programs"
AWAY = (hisock.ConnectionLost, hisock.ClientDisconnected)


def test_what_the_handler_returns_is_the_reply(client: AnyClient) -> None:
    assert client.call("add", [1, 2, 3], int) == 6
    assert client.call("add", [1, 2, 3]) == b"6"
    assert client.call("return", b"\x00$MSG$\xff", bytes) == b"\x00$MSG$\xff"
    assert client.call("point", Point(1, 2), Point) == Point(2, 1)
    assert client.call("point", {"x": 3}, dict[str, int]) == {"x": 0, "y": 3}
    assert client.call("name", None, str) == "Ada"
    assert client.call("in a thread", "quiet", str) == "QUIET"
    assert client.call("return", "x" * 1_000_000, str) == "x" * 1_000_000


def test_no_message_is_none_or_the_zero_of_the_type(client: AnyClient) -> None:
    assert client.call("nothing") is None
    assert client.call("return", b"") is None
    assert client.call("nothing", None, bytes) == b""
    assert client.call("nothing", None, int) == 0
    assert client.call("nothing", None, list[int]) == []
    assert client.call("nothing", None, str | None) is None


@pytest.mark.parametrize("how", ["fail", "fail later", "fail in a thread"])
def test_an_exception_of_the_handler_arrives_by_its_message(client: AnyClient, how: str) -> None:
    with logged("hisock.server") as log:
        with pytest.raises(hisock.RemoteError) as raised:
            client.call(how, "no luck, $MSG$ ¡ay!")
        assert str(raised.value) == "no luck, $MSG$ ¡ay!"
        log.wait_for_text("no luck")
    with pytest.raises(hisock.RemoteError, match="ValueError"):
        client.call(how, "")  # an exception without a message is known by its name
    assert client.call("add", [1], int) == 1


def test_a_message_that_does_not_fit_the_handler_is_a_remote_error(client: AnyClient) -> None:
    for wrong in ("one", {"x": 1}, ["one"]):
        with pytest.raises(hisock.RemoteError, match="add"):
            client.call("add", wrong)
    assert client.call("add", [1], int) == 1


def test_what_cannot_be_sent_back_is_a_remote_error(client: AnyClient) -> None:
    with pytest.raises(hisock.RemoteError, match="object"):
        client.call("unsendable")
    assert client.call("add", [1], int) == 1


def test_a_command_that_nobody_handles_is_a_remote_error(client: AnyClient) -> None:
    for command in ("nobody", "join", "leave", "message", "*", "name_change"):
        with pytest.raises(hisock.RemoteError, match="handler"):
            client.call(command)
    assert client.call("add", [1], int) == 1


def test_a_reply_that_does_not_fit_is_an_invalid_cast(client: AnyClient) -> None:
    with pytest.raises(hisock.InvalidTypeCast, match="the reply to 'name' is not int"):
        client.call("name", None, int)
    with pytest.raises(hisock.InvalidTypeCast, match=r"the reply to 'point' is not list\[int\]"):
        client.call("point", Point(1), list[int])
    assert client.call("add", [1], int) == 1
    assert client.waiting_calls == 0


def test_what_is_wrong_with_a_call_is_told_before_anything_is_sent(client: AnyClient) -> None:
    with pytest.raises(ValueError, match=r"\$"):
        client.call("$CALL$")
    with pytest.raises(ValueError, match="empty"):
        client.call("")
    with pytest.raises(TypeError):
        client.call("add", object())
    with pytest.raises(TypeError):
        client.call("add", [1], object.__new__)
    assert client.call("add", [1], int) == 1
    assert client.waiting_calls == 0


def test_no_reply_in_time_is_a_time_out(client: AnyClient) -> None:
    with pytest.raises(TimeoutError, match="never"):
        client.call("never", timeout=0.01)
    assert client.call("add", [1], int) == 1
    assert client.waiting_calls == 0


@pytest.mark.parametrize("force", [False, True])
def test_a_connection_that_ends_ends_the_calls(client: AnyClient, force: bool) -> None:
    with pytest.raises(AWAY):
        client.call("kick", force, timeout=None)
    with pytest.raises(AWAY):
        client.call("add", [1], timeout=None)
    assert client.waiting_calls == 0


def test_closing_the_client_ends_its_calls(
    server: hisock.ThreadedHiSockServer, kind: Kind, events: Events
) -> None:
    server.on("waits")(lambda client: events.add("waits"))

    @server.on("never answered", threaded=True)
    def never_answered(client: hisock.ClientInfo) -> None:
        events.add("called")
        events.wait_for("test over")

    with AnyClient(kind, server.addr) as client:
        client.start()

        def call() -> None:
            try:
                client.call("never answered", timeout=None)
            except AWAY as exc:
                events.add("ended", type(exc).__name__)

        thread = threading.Thread(target=call)
        thread.start()
        events.wait_for("called")
        client._do("close")
        events.wait_for("ended")
        thread.join(PATIENCE)
    events.add("test over")


def test_a_server_that_is_killed_ends_the_calls_at_once(kind: Kind, run_on_ours: Run) -> None:
    port = free_port()
    with run_on_ours(PROGRAMS / "victim_server.py", str(port)) as victim:
        victim.wait_line("ready")
        with AnyClient(kind, ("127.0.0.1", port)) as client:
            client.start()
            failures: list[BaseException] = []

            def call() -> None:
                try:
                    client.call("wait", timeout=None)
                except BaseException as exc:
                    failures.append(exc)

            # A plain client reads in one of the threads; all of them are told.
            threads = [threading.Thread(target=call) for _ in range(4)]
            for thread in threads:
                thread.start()
            for _ in threads:
                victim.wait_line("waits")
            victim.kill()
            for thread in threads:
                thread.join(PATIENCE)
            assert [type(exc) for exc in failures] == [hisock.ConnectionLost] * 4
            assert client.waiting_calls == 0


def test_many_threads_call_at_once_and_each_gets_its_reply(client: AnyClient) -> None:
    wrong: list[Any] = []

    def call(start: int) -> None:
        for number in range(start, start + 100):
            reply = client.call("double", number, int)
            if reply != 2 * number:
                wrong.append((number, reply))

    threads = [threading.Thread(target=call, args=(n * 1000,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
        assert not thread.is_alive()
    assert not wrong
    assert client.waiting_calls == 0


def test_what_the_server_sends_meanwhile_is_handled(
    server: hisock.ThreadedHiSockServer, client: AnyClient
) -> None:
    heard: list[int] = []

    @server.on("tell me")
    def tell_me(client: hisock.ClientInfo, count: int) -> int:
        for number in range(count):
            server.send_client(client, "told", number)
            server.send_client(client, "kept", number)
        return count

    def told(number: int) -> None:
        heard.append(number)

    client.on("told", told)
    assert client.call("tell me", 10, int) == 10
    assert heard == list(range(10))
    assert [client.recv("kept", int) for _ in range(10)] == list(range(10))


@pytest.mark.parametrize("kind", ["plain", "threaded"])
def test_a_call_on_the_clients_own_loop_says_what_to_do(
    server: hisock.ThreadedHiSockServer, kind: Kind, events: Events
) -> None:
    with hisock.threaded_connect(server.addr, "Ada") as ada:

        @ada.on("ask")
        def ask() -> None:
            try:
                ada.call("name")
            except RuntimeError as exc:
                events.add("error", str(exc))

        @ada.on("ask in a thread", threaded=True)
        def ask_in_a_thread() -> None:
            events.add("name", ada.call("name", None, str))

        if kind == "threaded":
            ada.start()
            ada.call("nothing")
        else:
            threading.Thread(target=hisock.HiSockClient.start, args=(ada,)).start()
            ada.call("nothing")
        server.send_client("Ada", "ask")
        assert "threaded=True" in events.wait_for("error")[1]
        server.send_client("Ada", "ask in a thread")
        events.wait_for("name", "Ada")


@on_loops
async def test_thousands_of_calls_in_flight_are_matched_by_number() -> None:
    count = 5000
    numbers: list[int] = []
    many_are_here = asyncio.Event()
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("hold", concurrent=True)
        async def hold(client: hisock.ClientInfo, number: int) -> int:
            numbers.append(number)
            if len(numbers) == 4000:  # about as many tasks as one client may have
                many_are_here.set()
            await many_are_here.wait()
            # The last are answered first.
            for _ in range((count - number) % 7):
                await asyncio.sleep(0)
            return -number

        async with await hisock.async_connect(server.addr) as client:
            calls = [client.call("hold", number, int, timeout=None) for number in range(count)]
            # The Python core takes long for that where coverage is measured.
            answers = await asyncio.wait_for(asyncio.gather(*calls), 3 * PATIENCE)
            assert answers == [-number for number in range(count)]
            assert len(client._driver.session.calls) == 0


@on_loops
async def test_replies_may_come_in_any_order() -> None:
    with HandServer() as by_hand:
        client, peer = await by_hand.serve(hisock.async_connect(by_hand.addr))
        calls = [asyncio.ensure_future(client.call("x", n, str)) for n in range(5)]
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        asked = [await loop.run_in_executor(None, peer.read) for _ in range(5)]
        for frame in reversed(asked):
            number, _, rest = frame.data.partition(b"$")
            peer.raw(b"$REPLY$" + number + b"$MSG$" + rest)
        got = await within(asyncio.gather(*calls))
        assert got == [f"CMD$x$MSG${n}" for n in range(5)]
        peer.close()
        await client.close()
