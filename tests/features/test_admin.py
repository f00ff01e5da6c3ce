"""``admin_token``: who may look at a server and kick its clients, and who may not."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

import hisock
from hisock import exceptions
from hisock._client.asyncio_driver import AsyncioDriver
from hisock._client.connector import ServerConnector
from hisock._client.options import ClientOptions
from hisock._core import protocol
from hisock._server.admin import MOST_ADMINS
from hisock.framing import DEFAULT_MAX_FRAME_SIZE

pytestmark = pytest.mark.timeout(60)
TOKEN = "a long enough secret"


async def administer(server: hisock.HiSockServer, token: str) -> AsyncioDriver:
    options = ClientOptions(
        name=None,
        group=None,
        header_len=server.header_len,
        cache_size=-1,
        max_message_size=DEFAULT_MAX_FRAME_SIZE,
        timeout=10.0,
        codec="json",
        token=None,
        reconnect=None,
        offline_buffer=0,
        admin=token,
    )
    driver = AsyncioDriver(ServerConnector(server.addr, None, None), options)
    await driver.connect()
    return driver


async def ask(driver: AsyncioDriver, command: str, **question: Any) -> Any:
    return json.loads(await driver.call(command, json.dumps(question).encode(), 10))


def test_an_administrator_sees_figures_and_kicks_and_is_no_client() -> None:
    async def main() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0), admin_token=TOKEN, max_connections=1)
        joined: list[str | None] = []
        server.on("join")(lambda client: joined.append(client.name))

        @server.on("add")
        def add(client: hisock.ClientInfo, numbers: list[int]) -> int:
            return sum(numbers)

        @server.on("slow")
        async def slow(client: hisock.ClientInfo) -> None:
            await asyncio.sleep(0)

        handlers = server._events.handlers
        async with server, await hisock.async_connect(server.addr, name="Ada", group="x") as ada:
            plain = handlers.commands["add"].full
            admin = await administer(server, TOKEN)  # although the server is full
            watched = handlers.commands["add"]
            assert watched.full is not plain
            assert await ada.call("add", [1, 2], int) == 3
            await ada.call("slow")
            shown = await ask(admin, "stats")
            assert shown["stats"]["clients"] == shown["stats"]["connections"] == 1
            assert shown["version"] == hisock.__version__
            assert shown["handlers"]["add"]["count"] == 1
            assert 0 <= shown["handlers"]["slow"]["p99"] <= shown["handlers"]["slow"]["max"]
            clients = await ask(admin, "clients", limit=5)
            assert clients["total"] == 1
            assert (clients["clients"][0]["name"], clients["clients"][0]["group"]) == ("Ada", "x")
            assert clients["clients"][0]["messages_in"] >= 3
            with pytest.raises(exceptions.RemoteError, match="no client is called 'Eve'"):
                await ask(admin, "kick", client="Eve")
            with pytest.raises(exceptions.RemoteError, match="there are stats"):
                await ask(admin, "add")
            with pytest.raises(exceptions.RemoteError):
                await ask(admin, "kick", nobody=1)
            assert (await ask(admin, "kick", client="Ada"))["name"] == "Ada"
            await asyncio.wait_for(ada.wait_closed(), 20)
            assert server.stats().ended["kicked"] == 1
            await admin.close(True)
        assert joined == ["Ada"]
        assert handlers.commands["add"] is not watched  # nothing is measured any more
        assert handlers.commands["add"].full is plain

    asyncio.run(asyncio.wait_for(main(), 50))


@pytest.mark.parametrize("token", ["a long enough secre7", "", "ü" * 20])
def test_a_wrong_token_is_refused_and_logged_but_not_shown(
    token: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0), admin_token=TOKEN)
        async with server:
            frame = protocol.build_hello(None, None, 16, admin=token)
            reader, writer = await asyncio.open_connection(*server.addr)
            writer.write(frame)
            assert b"$REJECT$the admin token is wrong" in await reader.read()
            writer.close()
            assert server.stats().ended["rejected"] == 1

    with caplog.at_level(logging.INFO, "hisock"):
        asyncio.run(asyncio.wait_for(main(), 50))
    assert "(rejected): the admin token is wrong" in caplog.text
    assert TOKEN not in caplog.text
    assert not token or token not in caplog.text


def test_guessing_is_slowed_down_for_the_right_token_too() -> None:
    async def main() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0), admin_token=TOKEN)
        async with server:
            for _ in range(5):
                with pytest.raises(hisock.ConnectionRejected, match="is wrong"):
                    await administer(server, "wrong" * 4)
            with pytest.raises(hisock.ConnectionRejected, match="too many wrong"):
                await administer(server, TOKEN)
            await (await hisock.async_connect(server.addr)).close()  # clients are let in

    asyncio.run(asyncio.wait_for(main(), 50))


def test_without_the_option_nobody_is_let_in() -> None:
    async def main() -> None:
        async with hisock.HiSockServer(("127.0.0.1", 0)) as server:
            with pytest.raises(hisock.ConnectionRejected, match="without admin_token"):
                await administer(server, TOKEN)
            assert server.stats().joins == 0

    asyncio.run(asyncio.wait_for(main(), 50))


def test_there_are_only_so_many_and_what_is_no_call_ends_one() -> None:
    async def main() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0), admin_token=TOKEN)
        heard: list[str] = []
        server.on("*")(lambda client, command, message: heard.append(command))
        async with server:
            admins = [await administer(server, TOKEN) for _ in range(MOST_ADMINS)]
            with pytest.raises(hisock.ConnectionRejected, match="already"):
                await administer(server, TOKEN)
            admins[0].send("not a call", b"")
            await asyncio.wait_for(admins[0].wait_closed(), 20)
            assert (await ask(admins[1], "stats"))["admins"] == MOST_ADMINS - 1
        for admin in admins[1:]:  # the server has closed
            await asyncio.wait_for(admin.wait_closed(), 20)
        assert heard == []

    asyncio.run(asyncio.wait_for(main(), 50))


def test_a_short_token_is_refused_when_the_server_is_made() -> None:
    with pytest.raises(ValueError, match="16 characters"):
        hisock.HiSockServer(None, admin_token="short")
    assert TOKEN not in repr(hisock.HiSockServer(None, admin_token=TOKEN)._hub.options)
