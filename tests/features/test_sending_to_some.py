"""``send_many``: exactly those given get it, and it is encoded once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

import hisock

from .loops import LOOPBACK, Seen, on_loops

# To some


class Counted:
    """Content that counts how often it is encoded."""

    def __init__(self) -> None:
        self.times = 0

    def __json__(self) -> dict[str, int]:
        self.times += 1
        return {"x": 1}


@on_loops
async def test_send_many_reaches_exactly_those_given_and_encodes_once() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        joined = Seen()
        server.on("join")(lambda client: joined.add("join", client))
        clients = [await hisock.async_connect(server.addr, f"player {n}") for n in range(6)]
        infos = [(await joined.until_named("join", n + 1))[0] for n in range(6)]
        by_name = {info.name: info for info in infos}
        ways: list[Iterable[Any]] = [
            [by_name["player 0"], by_name["player 1"]],
            (by_name[f"player {n}"] for n in (0, 1)),
            {by_name["player 0"], by_name["player 1"]},
            ["player 0", by_name["player 1"].ip],
            (by_name["player 0"].addr, "player 1"),
            dict.fromkeys([by_name["player 0"], by_name["player 1"]]).keys(),
            [by_name["player 0"], "player 0", by_name["player 1"], by_name["player 0"].addr],
            ["player 0", "nobody", ("127.0.0.1", 1), "player 1"],
        ]
        for way in ways:
            content = Counted()
            assert server.send_many(way, "seen", content) == 2
            assert content.times == 1
        assert server.send_many([], "seen", 1) == 0
        assert server.send_many(iter(()), "seen", 1) == 0
        server.send_all_clients("over")
        for n, client in enumerate(clients):
            got = 0
            async for command, message in client:
                if command == "over":
                    break
                assert (command, message) == ("seen", b'{"x":1}')
                got += 1
            assert got == (len(ways) if n < 2 else 0)
            await client.close()
        assert server.send_many(infos, "seen", 1) == 0


@on_loops
async def test_what_cannot_be_sent_to_some_is_told_and_nobody_gets_it() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        server.on("here")(lambda client: None)
        async with await hisock.async_connect(server.addr, "Ada") as ada:
            await ada.call("here")
            with pytest.raises(TypeError):
                server.send_many(["Ada"], "x", object())
            with pytest.raises(ValueError, match=r"\$"):
                server.send_many(["Ada"], "$x$", 1)
            with pytest.raises(ValueError, match="does not name a client"):
                server.send_many([5], "x", 1)  # type: ignore[list-item]
            server.send_many(["Ada"], "over")
            assert await ada.recv(None, timeout=10) == b""
