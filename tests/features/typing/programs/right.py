"""What type checkers have to infer of hisock; none of it is ever run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
from typing_extensions import assert_type

import hisock


class Move(msgspec.Struct):
    x: int
    y: int


@dataclass
class Player:
    points: int = 0


server = hisock.HiSockServer(("127.0.0.1", 5000), session=Player)
client = hisock.connect(("127.0.0.1", 5000), name="Ada")
threaded = hisock.threaded_connect(("127.0.0.1", 5000))
assert_type(client, hisock.HiSockClient)
assert_type(threaded, hisock.ThreadedHiSockClient)
assert_type(hisock.start_server(("127.0.0.1", 0)), hisock.HiSockServer)
assert_type(hisock.start_threaded_server(("127.0.0.1", 0)), hisock.ThreadedHiSockServer)
assert_type(hisock.start_server(("::1", 0), 5, keepalive=False, ssl=None), hisock.HiSockServer)


# Handlers keep their type.


@server.on("move")
def move(client: hisock.ClientInfo, move: Move) -> int:
    return move.x


@server.on("slow", concurrent=True)
async def slow(client: hisock.ClientInfo, text: str) -> str:
    return text


@client.on("moved", threaded=True)
def moved(move: Move) -> None: ...


@server.every(1 / 20)
def tick(dt: float) -> None: ...


move_as: Callable[[hisock.ClientInfo, Move], int] = move
slow_as: Callable[[hisock.ClientInfo, str], Coroutine[Any, Any, str]] = slow
moved_as: Callable[[Move], None] = moved
tick_as: Callable[[float], None] = tick
assert_type(move(server.get_client("Ada"), Move(1, 2)), int)


# What is received has the type that was asked for.

assert_type(client.recv(), bytes)
assert_type(client.recv("x"), bytes)
assert_type(client.recv("x", timeout=5), bytes)
assert_type(client.recv("x", int), int)
assert_type(client.recv("x", Move, 5), Move)
assert_type(client.recv("x", list[int], timeout=5), list[int])
assert_type(client.recv("x", recv_as=dict[str, Move]), dict[str, Move])
assert_type(client.recv(recv_as=str), str)
assert_type(threaded.recv("x", float), float)
assert_type(server.recv("x", Move), Move)
assert_type(server.recv(), bytes)

assert_type(client.call("x"), bytes | None)
assert_type(client.call("x", [1, 2]), bytes | None)
assert_type(client.call("x", None, None), bytes | None)
assert_type(client.call("x", 1, timeout=None), bytes | None)
assert_type(client.call("x", None, int), int)
assert_type(client.call("x", Move(1, 2), Move, 10), Move)
assert_type(client.call("x", type=str), str)
assert_type(client.call("x", type=list[Move], timeout=2), list[Move])
assert_type(threaded.call("x", None, bool), bool)

assert_type(server.call_blocking("Ada", "x"), bytes | None)
assert_type(server.call_blocking("Ada", "x", None, int), int)
assert_type(server.call_blocking(("127.0.0.1", 1), "x", type=Move), Move)

assert_type(client.update(), int)
assert_type(client.update(max_messages=10), int)


async def use(ada: hisock.ClientInfo) -> None:
    assert_type(await server.wait_for(), bytes)
    assert_type(await server.wait_for("x", client=ada, timeout=5), bytes)
    assert_type(await server.wait_for("x", int), int)
    assert_type(await server.wait_for("x", list[Move], ada, 5), list[Move])
    assert_type(await server.call(ada, "x"), bytes | None)
    assert_type(await server.call(ada, "x", None, Move), Move)
    assert_type(await server.call(ada, "x", type=dict[str, int], timeout=None), dict[str, int])

    one = await hisock.async_connect(("127.0.0.1", 5000), "Ada", reconnect=hisock.Reconnect())
    assert_type(one, hisock.AsyncHiSockClient)
    assert_type(await one.recv(), bytes)
    assert_type(await one.recv("x", int), int)
    assert_type(await one.recv("x", type=list[int], timeout=5), list[int])
    assert_type(await one.call("x"), bytes | None)
    async for part in one.stream("x", None, int):
        assert_type(part, int)
    async for raw in one.stream("x"):
        assert_type(raw, bytes | None)
    assert_type(await one.call("x", 1, Move), Move)
    assert_type(await one.call("x", type=str), str)
    async for command, message in one:
        assert_type(command, str | None)
        assert_type(message, bytes | None)
    async with one as same, server as serving:
        assert_type(same, hisock.AsyncHiSockClient)
        assert_type(serving, hisock.HiSockServer[Player])

    @one.on("x")
    async def handler(number: int) -> int:
        return number

    assert_type(await handler(5), int)


# Types that are no classes are accepted.

number: int | None = client.recv("x", int | None)
answer: int | None = client.call("x", None, int | None)


# Sending and looking up.

assert_type(server.send_all_clients("x", volatile=True), int)
assert_type(server.send_group("red", "x", latest="key"), int)
assert_type(server.send_room("lobby", "x", exclude="Ada"), int)
assert_type(server.send_many(["Ada", ("127.0.0.1", 1), server.get_client("Bob")], "x"), int)
assert_type(server.send_many((info for info in server.get_room("lobby")), "x"), int)
assert_type(server.get_client("Ada"), hisock.ClientInfo)
assert_type(server.get_group("red"), list[hisock.ClientInfo])
assert_type(server.get_room("lobby"), list[hisock.ClientInfo])
assert_type(server.rooms("Ada"), set[str])
player: Player = server.session("Ada")


for part in client.stream("x", type=list[int]):
    assert_type(part, list[int])

# A session is what the server was made with; without that, anything.

assert_type(server, hisock.HiSockServer[Player])
assert_type(server.session("Ada"), Player)
assert_type(hisock.ThreadedHiSockServer(None, session=Player).session("Ada"), Player)
assert_type(hisock.start_server(None, session=Player).session("Ada"), Player)
assert_type(hisock.start_server(("127.0.0.1", 0)).session("Ada"), Any)
assert_type(hisock.HiSockServer(None, session=lambda: Player(3)).session("Ada"), Player)


def score(of: hisock.HiSockServer, name: str) -> int:
    points: int = of.session(name)["points"]
    return points


def points(of: hisock.HiSockServer[Player], name: str) -> int:
    return of.session(name).points


assert_type(score(server, "Ada") + points(server, "Ada"), int)


class Arena(hisock.ThreadedHiSockServer):
    def points(self) -> int:
        points: int = self.session("Ada").points
        return points

    def send_group(
        self,
        group: str | hisock.ClientInfo,
        command: str,
        content: Any = None,
        *,
        volatile: bool = False,
        latest: str | None = None,
    ) -> int:
        return super().send_group(group, command, content, volatile=volatile, latest=latest)


with hisock.ThreadedHiSockServer(("::1", 0)) as running, client as connected:
    assert_type(running, hisock.ThreadedHiSockServer)
    assert_type(connected, hisock.HiSockClient)
