"""Several messages with one system call: send_many() and batch()."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import Events, Peer
from support.events import PATIENCE

import hisock
from hisock.exceptions import ClientDisconnected, ConnectionLost, InvalidTypeCast

from .wire import HandServer


class CountingSocket:
    """A socket that counts what it is asked to send, and may break in between."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.sends: list[int] = []
        self.breaks_after: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: Any, *flags: int) -> int:
        if self.breaks_after is not None:
            if not self.breaks_after:
                raise BrokenPipeError("broken by the test")
            data, self.breaks_after = data[: self.breaks_after], 0
        sent: int = self._sock.send(data, *flags)
        self.sends.append(sent)
        return sent

    def sendall(self, data: Any) -> None:
        self.send(data)


@pytest.fixture
def echo(make_server: Callable[..., Any]) -> Any:
    server = make_server()
    server.on("say")(lambda client, text: server.send_client(client, "said", text))
    server.on("add")(lambda client, number: int(number) + 1)
    server.start()
    return server


@pytest.fixture
def client(echo: Any) -> Iterator[hisock.HiSockClient]:
    with hisock.connect(echo.addr) as client:
        assert client.call("add", 1, int) == 2
        client._driver.session.link.socket = CountingSocket(client._driver.session.link.socket)  # type: ignore[assignment]
        yield client


def sends(client: hisock.HiSockClient) -> list[int]:
    counting: Any = client._driver.session.link.socket
    assert isinstance(counting, CountingSocket)
    return counting.sends


def received(client: hisock.HiSockClient, count: int) -> list[str]:
    return [client.recv("said", str, timeout=PATIENCE) for _ in range(count)]


def test_send_many_is_one_system_call(client: hisock.HiSockClient) -> None:
    client.send_many(("say", str(number)) for number in range(100))
    assert len(sends(client)) == 1
    assert received(client, 100) == [str(number) for number in range(100)]
    client.send_many([])


def test_a_batch_is_one_system_call(client: hisock.HiSockClient) -> None:
    with client.batch():
        for number in range(50):
            client.send("say", number)
        with client.batch():  # the inner one is part of the outer one
            client.send("say", "inner")
        client.send("say", "last")
        assert sends(client) == []
    assert len(sends(client)) == 1
    assert received(client, 52) == [*map(str, range(50)), "inner", "last"]


def test_what_a_batch_sent_goes_out_although_its_block_raises(client: hisock.HiSockClient) -> None:
    def send() -> None:
        with client.batch():
            client.send("say", "first")
            client.send("say", object())

    with pytest.raises(InvalidTypeCast):
        send()
    assert received(client, 1) == ["first"]


def test_send_many_sends_nothing_if_one_cannot_be_sent(client: hisock.HiSockClient) -> None:
    with pytest.raises(InvalidTypeCast):
        client.send_many([("say", "first"), ("say", object())])
    with pytest.raises(ValueError, match="must not be empty"):
        client.send_many([("say", "first"), ("", None)])
    assert sends(client) == []


@pytest.mark.parametrize("way", ["call", "recv", "many", "close"])
def test_what_else_is_asked_for_in_a_batch_comes_after_it(
    client: hisock.HiSockClient, echo: hisock.ThreadedHiSockServer, way: str
) -> None:
    said = Events()

    @echo.on("say", replace=True)
    def say(client: hisock.ClientInfo, text: bytes) -> None:
        said.add(text)
        echo.send_client(client, "said", text)

    with client.batch():
        client.send("say", "first")
        if way == "call":
            assert client.call("add", 1, int) == 2
        elif way == "recv":
            assert received(client, 1) == ["first"]
        elif way == "many":
            client.send_many([("say", "second")])
        else:
            client.close()
        assert sends(client) != []
    said.wait_for(b"first")


def test_a_long_batch_is_sent_in_between(client: hisock.HiSockClient) -> None:
    with client.batch():
        for _ in range(10):
            client.send("say", "x" * 20_000)
        assert len(sends(client)) == 2
    assert len(received(client, 10)) == 10


def test_other_threads_are_not_part_of_a_batch(client: hisock.HiSockClient) -> None:
    with client.batch():
        client.send("say", "batched")
        thread = threading.Thread(target=client.send, args=("say", "other"))
        thread.start()
        thread.join(PATIENCE)
        assert len(sends(client)) == 1
    assert received(client, 2) == ["other", "batched"]


def test_a_closed_client_refuses_both(client: hisock.HiSockClient) -> None:
    client.close()
    with pytest.raises(ClientDisconnected):
        client.send_many([("say", "x")])
    with client.batch(), pytest.raises(ClientDisconnected):
        client.send("say", "x")


def test_a_lost_connection_is_an_error_without_reconnect(client: hisock.HiSockClient) -> None:
    counting: Any = client._driver.session.link.socket
    counting.breaks_after = 0
    with pytest.raises(ConnectionLost):
        client.send_many([("say", "x")])


def test_what_did_not_go_out_whole_is_sent_after_reconnecting_and_nothing_twice() -> None:
    """The connection breaks inside the third of five frames."""
    server = HandServer()
    accepted: list[Peer] = []
    thread = threading.Thread(target=lambda: accepted.append(server.accept()))
    thread.start()
    client = hisock.connect(
        server.addr, reconnect=hisock.Reconnect(initial=0.01), offline_buffer=10_000
    )
    thread.join(PATIENCE)
    with client, accepted[0] as first:
        counting = CountingSocket(client._driver.session.link.socket)
        client._driver.session.link.socket = counting  # type: ignore[assignment]
        size = len(b"16 characters of" + b"$CMD$n$MSG$0")
        counting.breaks_after = 2 * size + 5
        client.send_many([("n", str(number)) for number in range(5)])
        assert [first.read().message for _ in range(2)] == [b"0", b"1"]
        first.close()
        with server.accept() as second:
            assert [second.read().message for _ in range(3)] == [b"2", b"3", b"4"]
    server.listener.close()


def test_the_other_clients_have_both(echo: Any, events: Events) -> None:
    with hisock.threaded_connect(echo.addr) as client:
        client.on("said")(lambda text: events.add("said", text))
        client.start()
        with client.batch():
            client.send("say", "a")
        client.send_many([("say", "b"), ("say", "c")])
        assert [events.wait_for("said", count=n)[1] for n in (1, 2, 3)] == [b"a", b"b", b"c"]

    async def on_a_loop() -> list[Any]:
        async with hisock.async_connect(echo.addr) as client:
            with client.batch():
                client.send("say", "a")
            client.send_many([("say", "b"), ("say", "c")])
            with pytest.raises(InvalidTypeCast):
                client.send_many([("say", "d"), ("say", object())])
            return [await client.recv("said", str, timeout=PATIENCE) for _ in range(3)]

    assert asyncio.run(on_a_loop()) == ["a", "b", "c"]
