"""Servers that get calls wrong, and those that never answer."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from support.events import PATIENCE

import hisock

from .clients import AnyClient, Kind, LoopThread
from .loops import LOOPBACK, on_one_loop, within
from .wire import BAD_REPLIES, HandServer


def test_a_call_that_is_none_ends_the_clients_connection(by_hand: HandServer, kind: Kind) -> None:
    with AnyClient(kind, by_hand.addr) as client:
        client.start()
        with by_hand.accept() as peer:
            peer.raw(b"$CALL$1$MSG$x")
            with pytest.raises(hisock.ConnectionLost, match="protocol"):
                client.recv("never")
            assert client.closed


@pytest.mark.parametrize("data", BAD_REPLIES, ids=lambda data: repr(data[:20]))
def test_a_reply_that_is_none_ends_the_clients_connection(by_hand: HandServer, data: bytes) -> None:
    with AnyClient("async", by_hand.addr) as client, by_hand.accept() as peer:
        peer.raw(b"$REPLY$" + data)
        with pytest.raises(hisock.ConnectionLost, match="protocol"):
            client.recv("never")


def test_the_data_of_an_error_that_no_codec_reads_is_bytes(by_hand: HandServer, kind: Kind) -> None:
    with AnyClient(kind, by_hand.addr) as client:
        client.start()
        with by_hand.accept() as peer:

            def fail() -> None:
                peer.wait_for(lambda frame: frame.reserved == "CALL")
                peer.raw(b'$REPLY$1$EXC${"message":"no"}$MSG$"\xff"')

            with by_hand.playing(fail), pytest.raises(hisock.RemoteError, match="no") as failed:
                client.call("x", timeout=PATIENCE)
            assert failed.value.data == b'"\xff"'
            assert client.client.connected


@pytest.mark.parametrize("frame", [b"$SRVHELLO$x", b"$SRVHELLO${}", b"$CLTHELLO${}", b"$GETCLT$x"])
def test_what_servers_do_not_send_ends_the_clients_connection(
    by_hand: HandServer, frame: bytes
) -> None:
    with AnyClient("async", by_hand.addr) as client, by_hand.accept() as peer:
        peer.raw(frame)
        with pytest.raises(hisock.ConnectionLost, match="protocol"):
            client.recv("never")


@pytest.mark.parametrize("end", ["bad frame", "goodbye", "reset"])
def test_what_came_before_the_end_is_still_there_for_recv(
    by_hand: HandServer, kind: Kind, end: str
) -> None:
    with AnyClient(kind, by_hand.addr) as client:
        client.start()
        with by_hand.accept() as peer:
            peer.send("result", b"1")
            peer.send("over")
            client.recv("over")  # both have been read
            if end == "bad frame":
                peer.raw(b"$REPLY$x")
            elif end == "goodbye":
                peer.reserved("DISCONN")
            else:
                peer.reset()
            with pytest.raises(hisock.HiSockError):
                client.recv("never")
            assert client.closed
            assert client.recv("result", int) == 1
            with pytest.raises(hisock.HiSockError):
                client.recv("result", int)


def test_a_client_ignores_replies_that_it_does_not_wait_for(
    by_hand: HandServer, kind: Kind
) -> None:
    with AnyClient(kind, by_hand.addr) as client:
        client.start()
        with by_hand.accept() as peer:
            for number in (0, 1, 2, 99999999999999999999):
                peer.raw(b"$REPLY$%d$MSG$x" % number)
                peer.raw(b"$REPLY$%d$ERR$x" % number)
            peer.send("still", b"there")
            assert client.recv("still") == b"there"
            assert client.waiting_calls == 0


def test_ten_thousand_calls_that_no_server_answers_leave_nothing_behind(
    by_hand: HandServer,
) -> None:
    loop = LoopThread()

    async def ask() -> list[Any]:
        client = await hisock.async_connect(by_hand.addr)
        await client.recv("go")
        calls = [client.call("x", timeout=0.01) for _ in range(10_000)]
        results: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        results.append(len(client._driver.session.calls))
        await client.close()
        return results

    asking = asyncio.run_coroutine_threadsafe(ask(), loop.loop)
    with by_hand.accept() as peer:
        peer.send("go")
        peer.rest()
        *results, left = asking.result(PATIENCE)
    assert {type(result) for result in results} == {TimeoutError}
    assert left == 0
    loop.close()


def test_threads_whose_calls_are_never_answered_time_out(by_hand: HandServer) -> None:
    outcomes: list[type] = []
    with AnyClient("threaded", by_hand.addr) as client:
        client.start()
        with by_hand.accept():

            def call() -> None:
                for _ in range(20):
                    try:
                        client.call("x", timeout=0.001)
                    except Exception as exc:
                        outcomes.append(type(exc))

            threads = [threading.Thread(target=call) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
            assert outcomes == [TimeoutError] * 160
            assert client.waiting_calls == 0


@on_one_loop
async def test_calls_that_are_cancelled_leave_nothing_behind() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:

        @server.on("never", concurrent=True)
        async def never(client: hisock.ClientInfo) -> None:
            await asyncio.Event().wait()

        server.on("x")(lambda client: None)
        async with await hisock.async_connect(server.addr) as client:
            await client.call("x")
            calls = [asyncio.ensure_future(client.call("never")) for _ in range(100)]
            await client.call("x")
            assert len(client._driver.session.calls) == 100
            for call in calls:
                call.cancel()
            await within(asyncio.gather(*calls, return_exceptions=True))
            assert len(client._driver.session.calls) == 0
