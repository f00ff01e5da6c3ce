"""The village, tested without a network and without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from accounts import PASSWORDS
from main import make_server

import hisock
from hisock.testing import BlockingTestClient, BlockingTestServer, TestServer

Start = Callable[..., BlockingTestServer]


def come(t: BlockingTestServer, name: str) -> BlockingTestClient:
    return t.connect(name, token=PASSWORDS[name])


def test_the_password_decides(hisock_server: Start) -> None:
    t = hisock_server(make_server())
    with pytest.raises(hisock.ConnectionRejected, match="wrong"):
        t.connect("Ada", token="guess")
    ada = come(t, "Ada")
    assert ada.group == "square"
    with pytest.raises(hisock.ConnectionRejected, match="taken"):
        come(t, "Ada")


def test_what_is_said_reaches_one_place(hisock_server: Start) -> None:
    t = hisock_server(make_server())
    ada, grace = come(t, "Ada"), come(t, "Grace")
    heard: list[dict[str, str]] = []

    @grace.on("chat.said")
    def said(message: dict[str, str]) -> None:
        heard.append(message)

    assert ada.call("chat.say", "hello", int) == 2
    grace.change_group("market")
    assert ada.call("chat.say", "anybody?", int) == 1
    assert heard == [{"by": "Ada", "text": "hello", "place": "square"}]
    assert ada.recv("chat.went", dict) == {"who": "Grace", "to": "market"}
    ada.send("chat.whisper", ["Grace", "psst"])
    assert grace.recv("chat.whispered", dict)["text"] == "psst"


def test_a_name_cannot_be_changed_nor_a_place_invented(hisock_server: Start) -> None:
    t = hisock_server(make_server())
    ada = come(t, "Ada")
    ada.change_name("Grace")
    ada.change_group("throne")
    assert (ada.name, ada.group) == ("Ada", "square")


def test_the_market_asks_takes_time_and_calms_down(hisock_server: Start) -> None:
    t = hisock_server(make_server())
    ada = come(t, "Ada")
    with pytest.raises(hisock.RemoteError) as refused:
        ada.call("market.buy", "lamp")
    assert refused.value.code == "place"
    ada.change_group("market")
    ada.on("market.sure")(lambda price: True)
    assert ada.call("market.prices", type=dict)["lamp"] == 4
    assert ada.call("market.buy", "lamp", dict) == {"gold": 6}
    assert ada.call("market.prices", type=dict)["lamp"] == 5
    assert ada.call("market.buy", "moon", dict) == {"error": "there is no moon"}
    t.clock.advance(60)
    assert ada.call("market.prices", type=dict)["lamp"] == 4
    assert ada.call("account.purse", type=dict) == {"gold": 6, "goods": {"lamp": 1}}


def test_gifts_and_errors_with_codes() -> None:
    with BlockingTestServer(make_server(), raise_errors=False) as t:
        ada, grace = come(t, "Ada"), come(t, "Grace")
        assert ada.call("account.give", ["Grace", 4], int) == 6
        assert grace.recv("account.given", dict) == {"by": "Ada", "gold": 4}
        with pytest.raises(hisock.RemoteError, match="you have 6") as refused:
            ada.call("account.give", ["Grace", 40])
        assert refused.value.code == "gold"
        with pytest.raises(hisock.RemoteError):
            ada.call("account.give", ["Nobody", 1])
        ((error, _),) = t.errors  # the other one is the handler's answer
        assert isinstance(error, hisock.ClientNotFound)


def test_a_fight_is_driven_by_the_clock() -> None:
    async def main() -> None:
        async with TestServer(make_server()) as t:
            ada = await t.connect("Ada", token="engine")
            grace = await t.connect("Grace", token="compiler")
            assert (await ada.call("arena.enter", type=dict))["x"] == 0
            assert (await grace.call("arena.enter", type=dict))["x"] == 1
            await t.clock.advance(1.5)
            assert await ada.recv("arena.fell", str, timeout=5) == "Ada"
            assert await grace.recv("arena.fell", str, timeout=5) == "Ada"
            states = [frame for frame in t.frames if frame.command == "arena.state"]
            assert all(frame.direction == "to client" for frame in states)
            with pytest.raises(hisock.RemoteError):
                await ada.call("arena.move", "north")
            t.errors.clear()

    asyncio.run(main())


def test_wardens_and_silence(hisock_server: Start) -> None:
    server = make_server()
    t = hisock_server(server)
    ada, grace = come(t, "Ada"), come(t, "Grace")
    assert ada.call("warden.banish", "Grace", dict) == {"error": "you are no warden"}
    assert not grace.closed
    grace.send("warden.banish", "Ada")
    assert ada.closed
    assert grace.call("warden.used", type=dict)["warden.banish"] == 2
    t.clock.advance(300)  # keepalives are answered
    assert not grace.closed
    assert [client.name for client in server.get_all_clients()] == ["Grace"]


def test_history_comes_in_parts() -> None:
    async def main() -> None:
        async with TestServer(make_server()) as t:
            ada = await t.connect("Ada", token="engine")
            for number in range(30):
                await ada.call("chat.say", f"line {number}")
            found = [part["text"] async for part in ada.stream("chat.history", 20, dict)]
            assert found == [f"line {number}" for number in range(10, 30)]

    asyncio.run(main())
