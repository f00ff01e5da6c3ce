"""Calls to clients of every kind, and what calls look like on the wire."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import Events, Peer
from support.events import PATIENCE
from support.fixtures import MakeServer, Run

import hisock
from hisock._core import call_frames, protocol

from .clients import AnyClient
from .loops import LOOPBACK, Seen, on_loops, within

PROGRAMS = Path(__file__).parent / "programs"
AWAY = (hisock.ConnectionLost, hisock.ClientDisconnected)


# From server to client


@pytest.mark.parametrize("result", [b"bytes", "text", 2.5, {"x": [1, 2]}, False, "", b""])
def test_what_a_plain_handler_returns_is_answered_by_the_short_way(
    server: hisock.ThreadedHiSockServer,
    client: AnyClient,
    result: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All but bytes was taken apart a second time, for the way of handlers that take their time."""
    client.call("nothing")  # it has joined
    taken_apart: list[bytes] = []
    monkeypatch.setattr(call_frames, "parse_call", taken_apart.append)
    client.on("give", lambda: result)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.call_blocking, "Ada", "give", "please", timeout=5.0)
        client.pump(asked.done)
    expected = msgspec.json.encode(result) if isinstance(result, dict) else result
    text = str(expected).lower().encode() if not isinstance(expected, bytes) else expected
    assert asked.result() == (text or None)
    assert not taken_apart


def test_a_client_of_any_kind_is_called(
    server: hisock.ThreadedHiSockServer, client: AnyClient
) -> None:
    def shout(text: str) -> str:
        return text.upper()

    def fail(text: str) -> None:
        raise LookupError(text)

    client.on("shout", shout)
    client.on("fail", fail)
    client.call("nothing")
    replies: list[Any] = []

    def ask() -> None:
        replies.append(server.call_blocking("Ada", "shout", "hey", str))
        try:
            server.call_blocking("Ada", "fail", "not today")
        except hisock.RemoteError as exc:
            replies.append(str(exc))
        try:
            server.call_blocking("Ada", "what", "?")
        except hisock.RemoteError as exc:
            replies.append("what" in str(exc))
        try:
            server.call_blocking("Ada", "shout", "hey", int)
        except hisock.InvalidTypeCast as exc:
            replies.append(exc.command)

    thread = threading.Thread(target=ask)
    thread.start()
    client.pump(lambda: not thread.is_alive())
    assert replies == ["HEY", "not today", True, "shout"]


def test_bytes_that_a_client_returns_arrive_as_they_are(
    server: hisock.ThreadedHiSockServer, client: AnyClient
) -> None:
    contents = [b"hey", b"n", b"null", b"$MSG$", bytes(range(256)) * 400]
    client.on("return", lambda content: content)
    client.call("nothing")
    replies: list[bytes | None] = []

    def ask() -> None:
        replies.extend(server.call_blocking("Ada", "return", content) for content in contents)

    thread = threading.Thread(target=ask)
    thread.start()
    client.pump(lambda: not thread.is_alive())
    assert replies == contents


def called(
    server: hisock.ThreadedHiSockServer, client: hisock.HiSockClient, command: str, content: object
) -> tuple[Future[Any], Any]:
    """A call to a client, which has ended, and the status with which that ended the program."""
    server.on("nothing")(lambda: None)
    client.call("nothing")
    pool = ThreadPoolExecutor(1)
    call: Future[Any] = pool.submit(server.call_blocking, "Ada", command, content)
    pool.shutdown(wait=False)
    try:
        while not call.done():
            client.update()
    except SystemExit as exc:
        return call, exc.code
    return call, None


def test_a_reply_that_no_header_can_announce_is_an_error(make_server: MakeServer) -> None:
    server = make_server(header_len=3)
    server.start()
    with hisock.connect(server.addr, "Ada", header_len=3) as client:
        client.on("repeat")(lambda message: 500 * message)
        call, _ = called(server, client, "repeat", b"ab")
        with pytest.raises(hisock.RemoteError, match="header"):
            call.result(PATIENCE)


def test_a_called_handler_that_ends_the_program_answers_before_that(
    make_server: MakeServer,
) -> None:
    server = make_server()
    server.start()
    with hisock.connect(server.addr, "Ada") as client:

        @client.on("stop")
        def stop(status: int) -> None:
            raise SystemExit(status)

        call, status = called(server, client, "stop", 3)
        assert status == 3
        with pytest.raises(hisock.RemoteError, match="ended its program"):
            call.result(PATIENCE)


@on_loops
async def test_server_and_client_call_each_other_in_handlers() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("greet")
        async def greet(client: hisock.ClientInfo, greeting: str) -> str:
            name = await server.call(client, "name", None, str)
            return f"{greeting}, {name}!"

        async with await hisock.async_connect(server.addr) as client:

            @client.on("name")
            async def name() -> str:
                await asyncio.sleep(0)
                return "Ada"

            assert await client.call("greet", "Good morning", str) == "Good morning, Ada!"
            calls = [client.call("greet", str(n), str) for n in range(300)]
            assert await within(asyncio.gather(*calls)) == [f"{n}, Ada!" for n in range(300)]


@on_loops
async def test_calls_nest_when_handlers_are_concurrent() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("down", concurrent=True)
        async def down(caller: hisock.ClientInfo, depth: int) -> int:
            return depth if not depth else 1 + await server.call(caller, "down", depth - 1, int)

        async with await hisock.async_connect(server.addr) as client:

            @client.on("down", concurrent=True)
            async def down_there(depth: int) -> int:
                return depth if not depth else 1 + await client.call("down", depth - 1, int)

            assert await client.call("down", 50, int) == 50


@on_loops
async def test_thousands_of_calls_to_one_client() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        server.on("nothing")(lambda client: None)
        async with await hisock.async_connect(server.addr, "Ada") as ada:

            @ada.on("double")
            def double(number: int) -> int:
                return 2 * number

            await ada.call("nothing")
            calls = [server.call("Ada", "double", n, int, timeout=None) for n in range(5000)]
            assert await within(asyncio.gather(*calls)) == [2 * n for n in range(5000)]


@on_loops
async def test_a_client_that_leaves_ends_the_calls_to_it() -> None:
    seen = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:
        server.on("nothing")(lambda client: None)
        for way in ("close", "kick", "cut"):
            client = await hisock.async_connect(server.addr, "Ada")

            @client.on("wait")
            async def wait() -> None:
                seen.add("waits")
                await asyncio.Event().wait()

            await client.call("nothing")
            waiting = len(seen.seen)
            calls = [
                asyncio.ensure_future(server.call("Ada", "wait", timeout=None)) for _ in range(3)
            ]
            await seen.until_named("waits", waiting + 1)
            if way == "close":
                await within(client.close())
            else:
                server.disconnect_client("Ada", force=way == "cut")
            for call in calls:
                with pytest.raises(hisock.ConnectionLost, match="Ada"):
                    await within(call)
            with pytest.raises(hisock.ClientNotFound):
                await server.call("Ada", "wait")
            await within(client.close())


def test_a_client_that_is_killed_ends_the_calls_to_it_at_once(
    server: hisock.ThreadedHiSockServer, run_on_ours: Run, events: Events
) -> None:
    port = str(server.addr[1])
    server.on("join")(lambda client: events.add("join", client.name))
    with run_on_ours(PROGRAMS / "victim_client.py", port, "victim") as victim:
        events.wait_for("join", "victim")
        assert server.call_blocking("victim", "ping", None, str) == "pong"
        failures: list[BaseException] = []

        def call() -> None:
            try:
                server.call_blocking("victim", "wait", timeout=None)
            except BaseException as exc:
                failures.append(exc)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in threads:
            victim.wait_line("waits")
        victim.kill()
        for thread in threads:
            thread.join(PATIENCE)
        assert [type(exc) for exc in failures] == [hisock.ConnectionLost] * 4


def test_a_client_that_does_not_answer_times_out(
    server: hisock.ThreadedHiSockServer,
) -> None:
    with hisock.connect(server.addr, "Ada") as ada:
        ada.call("nothing")
        with pytest.raises(TimeoutError, match="anything"):
            server.call_blocking("Ada", "anything", timeout=0.01)


def test_blocking_calls_are_refused_on_the_servers_loop(
    server: hisock.ThreadedHiSockServer, client: AnyClient
) -> None:
    @server.on("call me")
    def call_me(client: hisock.ClientInfo) -> None:
        server.call_blocking(client, "x")

    @server.on("call me in a thread", threaded=True)
    def call_me_in_a_thread(client: hisock.ClientInfo) -> str:
        reply: str = server.call_blocking(client, "x", None, str)
        return reply

    client.on("x", lambda: "here")
    with pytest.raises(hisock.RemoteError, match="threaded=True"):
        client.call("call me")
    assert client.call("call me in a thread", None, str) == "here"


# On the wire


def test_calls_look_like_this_on_the_wire(server: hisock.ThreadedHiSockServer) -> None:
    with Peer(server.addr) as peer:
        peer.reserved("CLTHELLO", '{"name": "Ada", "group": null, "features": ["call"]}')
        hello = peer.read()
        assert hello.payload.startswith(b'$SRVHELLO${"features":["call","reject"')
        assert hello.json["features"] == protocol.FEATURES
        assert peer.read().reserved == "CLTCONN"
        for asked, answered in (
            (b"$CALL$1$CMD$add$MSG$[1,2]", b"$REPLY$1$MSG$3"),
            (b"$CALL$00002$CMD$name", b"$REPLY$2$MSG$Ada"),
            (b"$CALL$99999999999999999999$CMD$nothing", b"$REPLY$99999999999999999999"),
            (b"$CALL$4$CMD$return$MSG$", b"$REPLY$4"),
            (b"$CALL$5$CMD$return$MSG$$MSG$$ERR$x", b"$REPLY$5$MSG$$MSG$$ERR$x"),
            (b"$CALL$6$CMD$fail$MSG$oh dear", b"$REPLY$6$ERR$oh dear"),
        ):
            peer.raw(asked)
            assert peer.read().payload in (answered, answered + b"$MSG$")


def test_an_error_never_brings_a_traceback(server: hisock.ThreadedHiSockServer) -> None:
    with Peer(server.addr) as peer:
        peer.reserved("CLTHELLO", '{"name": "Ada", "group": null, "features": ["call"]}')
        for number, command in enumerate(
            ("fail", "fail later", "fail in a thread", "unsendable", "add", "nobody")
        ):
            peer.raw(b"$CALL$%d$CMD$%b$MSG$x" % (number, command.encode()))
            reply = peer.wait_for(lambda f: f.reserved == "REPLY")
            assert b"$ERR$" in reply.payload
            assert b"Traceback" not in reply.payload
            assert b".py" not in reply.payload
            assert b"\n" not in reply.payload
