"""What handlers do wrong: the caller is answered, the client goes on, the error is reported."""

from __future__ import annotations

import asyncio

import pytest
from support import Events
from support.events import PATIENCE
from support.fixtures import MakePeer, MakeServer

import hisock

from .clients import AnyClient, Kind
from .loops import LOOPBACK, within


class OddError(BaseException):
    """Not an ``Exception``, as the errors of some test tools and of asyncio are."""


class Mute(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def ask_a_cancelled_future() -> None:
    future: asyncio.Future[None] = asyncio.Future(loop=asyncio.new_event_loop())
    future.get_loop().close()
    future.cancel()
    future.result()


def raise_odd() -> None:
    raise OddError("odd")


def raise_mute() -> None:
    raise Mute


FAULTS = {"cancelled": ask_a_cancelled_future, "odd": raise_odd, "mute": raise_mute}
NAMES = {"cancelled": "CancelledError", "odd": "OddError", "mute": "Mute"}


def register(server: hisock.HiSockServer, fault: str, how: str) -> None:
    """A handler that fails so, on the loop, as a task or in a thread."""
    fail = FAULTS[fault]
    if how == "task":

        @server.on("fail")
        async def fail_later(client: hisock.ClientInfo) -> None:
            await asyncio.sleep(0)
            fail()
    else:

        @server.on("fail", threaded=how == "thread")
        def fail_now(client: hisock.ClientInfo) -> None:
            fail()


@pytest.mark.parametrize("how", ["loop", "task", "thread"])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_caller_is_answered_and_the_client_goes_on(
    make_server: MakeServer, fault: str, how: str, kind: Kind
) -> None:
    server = make_server()
    register(server, fault, how)
    server.on("add")(add_one)
    server.start()
    with AnyClient(kind, server.addr) as client:
        client.start()
        with pytest.raises((hisock.RemoteError, hisock.ConnectionLost)):
            client.call("fail", None, timeout=PATIENCE)
        assert client.call("add", 1, int) == 2


def add_one(client: hisock.ClientInfo, number: int) -> int:
    return number + 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plain_handler_that_fails_oddly_ends_nothing(
    make_server: MakeServer, make_peer: MakePeer, events: Events, fault: str
) -> None:
    server = make_server()
    register(server, fault, "loop")

    @server.on("after")
    def after(client: hisock.ClientInfo) -> None:
        server.send_client(client, "went on")

    server.start(error_handler=lambda exc: events.add("error", exc))
    peer = make_peer(server)
    peer.send("fail")
    peer.ask("after", answer="went on")
    _, error = events.wait_for("error")
    assert NAMES[fault] in (type(error).__name__, type(error.__cause__).__name__)
    assert server.stats().handler_errors == 1
    assert server.stats().clients == 1


@pytest.mark.parametrize("how", ["loop", "task", "thread"])
def test_a_reply_too_long_for_the_header_is_answered_by_an_error(
    make_server: MakeServer, how: str
) -> None:
    server = make_server(header_len=3)

    @server.on("long", threaded=how == "thread")
    def long(client: hisock.ClientInfo) -> bytes:
        return bytes(1000)

    @server.on("fail at length")
    def fail_at_length(client: hisock.ClientInfo) -> None:
        raise ValueError("¡" * 2000)

    if how == "task":

        @server.on("long", override=True)
        async def long_later(client: hisock.ClientInfo) -> bytes:
            return bytes(1000)

    server.start()
    with hisock.connect(server.addr, header_len=3) as client:
        with pytest.raises(hisock.RemoteError, match="does not fit in a header"):
            client.call("long", timeout=PATIENCE)
        with pytest.raises(hisock.RemoteError, match=r"^¡{400,}$"):
            client.call("fail at length", timeout=PATIENCE)


def test_a_client_answers_each_call_too() -> None:
    async def main() -> None:
        async with hisock.HiSockServer(LOOPBACK) as server:
            client = await hisock.async_connect(server.addr, "Ada")

            @client.on("odd")
            async def odd() -> None:
                raise_odd()

            @client.on("mute")
            def mute() -> None:
                raise_mute()

            @client.on("fine")
            def fine() -> int:
                return 1

            with pytest.raises(hisock.RemoteError, match="no handler"):
                await client.call("joined?", timeout=PATIENCE)
            for command, text in (("odd", "odd"), ("mute", "Mute")):
                with pytest.raises(hisock.RemoteError, match=text):
                    await server.call("Ada", command, timeout=PATIENCE)
            assert await server.call("Ada", "fine", None, int) == 1
            await client.close()

    asyncio.run(within(main()))


def test_an_error_handler_that_fails_oddly_ends_nothing(
    make_server: MakeServer, make_peer: MakePeer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server()
    server.on("fail")(raise_mute)
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start(error_handler=lambda exc: raise_odd())
    peer = make_peer(server)
    peer.send("fail")
    peer.send("ping")
    peer.wait_for(lambda frame: frame.command == "pong")
    assert "the error handler failed" in caplog.text
