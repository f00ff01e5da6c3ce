"""Many clients that join at once, and how their sockets are handed over to the loop."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import hisock
from hisock._server.handing_over import HandingOver

from .loops import LOOPBACK, on_loops, within


@on_loops
async def test_a_hundred_clients_join_at_once() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        server.on("who")(lambda client: client.name)
        joining = (hisock.async_connect(server.addr, name=str(n)) for n in range(100))
        clients = await within(asyncio.gather(*joining))
        asked = [client.call("who", None, str) for client in clients]
        assert await within(asyncio.gather(*asked)) == [str(n) for n in range(100)]
        assert len(server) == 100
        await within(asyncio.gather(*(client.close() for client in clients)))


def handing(waits_for: dict[int, Any], ended: list[int]) -> Any:
    """What hands numbers over, each of which waits for a future, or two iterations for ``None``.

    One that is not there fails at once.
    """

    async def hand_over(connection: Any, _sock: Any) -> None:
        future = waits_for[connection]
        if future is None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        else:
            await future
        ended.append(connection)

    return HandingOver(asyncio.get_running_loop(), hand_over)


@on_loops
async def test_closing_waits_for_all_that_are_being_handed_over() -> None:
    future = asyncio.get_running_loop().create_future()
    ended: list[int] = []
    handing_over = handing({1: future, 2: None}, ended)
    for number in (1, 2):
        handing_over.add(number, None)
    closing = asyncio.ensure_future(handing_over.close())
    while not ended:
        await within(asyncio.sleep(0))
    assert (ended, closing.done()) == ([2], False)
    future.set_result(None)
    await within(closing)
    assert ended == [2, 1]
    await within(handing_over.close())  # with nothing under way


@on_loops
async def test_one_that_fails_is_reported_and_the_others_are_handed_over() -> None:
    loop = asyncio.get_running_loop()
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: reported.append(context))
    first, second = loop.create_future(), loop.create_future()
    ended: list[int] = []
    handing_over = handing({1: first, 2: second}, ended)
    for number in (0, 1, 2):
        handing_over.add(number, None)
    closing = asyncio.ensure_future(handing_over.close())
    first.set_exception(ZeroDivisionError("of this test"))
    second.set_result(None)
    await within(closing)
    assert ended == [2]
    assert [type(context["exception"]) for context in reported] == [KeyError, ZeroDivisionError]


@on_loops
async def test_those_that_wait_are_given_up_unless_the_connection_is_made() -> None:
    loop = asyncio.get_running_loop()
    waits_for = {False: loop.create_future(), True: loop.create_future()}
    ended: list[bool] = []

    async def hand_over(connection: Any, _sock: Any) -> None:
        try:
            await waits_for[connection.made]
        finally:
            ended.append(connection.made)

    handing_over = HandingOver(loop, hand_over)
    for made in waits_for:
        handing_over.add(cast(Any, SimpleNamespace(made=made)), cast(Any, None))
    handing_over.cancel()
    closing = asyncio.ensure_future(handing_over.close())
    while not ended:
        await within(asyncio.sleep(0))
    assert (ended, closing.done()) == ([False], False)
    waits_for[True].set_result(None)
    await within(closing)
    assert ended == [False, True]


@on_loops
async def test_a_socket_of_the_program_stays_what_it_was() -> None:
    own = socket.create_server(LOOPBACK)
    async with (
        hisock.HiSockServer(own) as server,
        await within(hisock.async_connect(server.addr)) as client,
    ):
        assert client.connected
        assert type(own) is socket.socket


@on_loops
async def test_accepted_sockets_know_their_family(tmp_path: Path) -> None:
    addresses: dict[tuple[str, int] | str, int] = {
        LOOPBACK: socket.AF_INET,
        str(tmp_path / "socket"): socket.AF_UNIX,
    }
    for addr, family in addresses.items():
        async with (
            hisock.HiSockServer(addr) as server,
            await within(hisock.async_connect(server.addr)),
        ):
            (connection,) = server._hub.connections
            assert (connection.socket.family, connection.socket.type) == (
                family,
                socket.SOCK_STREAM,
            )
            assert connection.writer.descriptor == connection.socket.fileno() >= 0
