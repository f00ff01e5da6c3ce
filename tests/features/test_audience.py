"""The seam to other servers: it sees whom a message goes to, and who comes and goes."""

from __future__ import annotations

from typing import Any

import pytest
from support.memory import MemoryPeer, on_virtual_loop, settle

import hisock
from hisock._server import audience
from hisock._server.audience import Audience
from hisock.framing import build_command


class Recorder:
    """A backplane that writes down what it is told.

    :ivar names: those of audiences that other servers have some of.
    """

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.names = {name: name for name in ("", "red", "lobby", "blue")}
        self.reach = dict.fromkeys(("everybody", "group", "room", "clients"), self.names)

    def admitted(self, client: hisock.ClientInfo) -> None:
        self.told.append(("admitted", client.name))

    def changed(self, old: hisock.ClientInfo, new: hisock.ClientInfo) -> None:
        self.told.append(("changed", old.name, old.group, new.name, new.group))

    def left(self, client: hisock.ClientInfo) -> None:
        self.told.append(("left", client.name))

    def claim(self, connection: Any, name: str | None, done: Any) -> bool:
        return False

    def moved(self, client: hisock.ClientInfo, room: str, inside: bool) -> None:
        self.told.append(("moved", client.name, room, inside))

    def publish(self, whom: Audience, *message: Any) -> int:
        self.told.append((whom, *message))
        return 0

    def pass_on(self, elsewhere: str, kind: str, name: str, frame: bytes) -> int:
        assert elsewhere == name
        self.told.append((kind, name, frame))
        return 0

    async def close(self) -> None:
        self.told.append("closed")


def make() -> hisock.HiSockServer:
    return hisock.HiSockServer(("127.0.0.1", 0), announce="none")


def hearing(peers: dict[str, MemoryPeer], command: str) -> str:
    return "".join(name for name, peer in peers.items() if peer.named(command))


async def crowd(server: hisock.HiSockServer) -> dict[str, MemoryPeer]:
    """A and B in the group ``red``, C in ``blue``; B and C in the room ``lobby``."""
    groups = {"a": "red", "b": "red", "c": "blue"}
    peers = {name: MemoryPeer(server, name, group=group) for name, group in groups.items()}
    await settle()
    for name in "bc":
        server.join_room(name, "lobby")
    return peers


@pytest.mark.parametrize(
    ("whom", "reached"),
    [
        (audience.everybody(), "abc"),
        (audience.everybody(exclude="b"), "ac"),
        (audience.group("red"), "ab"),
        (audience.group("red", exclude="a"), "b"),
        (audience.group("nobody's"), ""),
        (audience.room("lobby"), "bc"),
        (audience.room("lobby", exclude="c"), "b"),
        (audience.room("lobby", exclude="nobody"), "bc"),
        (audience.clients(["a", "c", "nobody"]), "ac"),
        (audience.clients(["a", "c"], exclude="a"), "c"),
    ],
)
def test_an_audience_reaches_the_clients_that_it_names(whom: Audience, reached: str) -> None:
    async def main() -> None:
        async with make() as server:
            peers = await crowd(server)
            assert server._hub.broadcast.deliver(whom, "news", b"1") == len(reached)
            await settle()
            assert hearing(peers, "news") == reached

    on_virtual_loop(main())


def test_a_backplane_sees_what_goes_to_audiences_and_clients_get_it_too() -> None:
    async def main() -> None:
        async with make() as server:
            peers = await crowd(server)
            seen: Any = Recorder()
            server._hub.broadcast.backplane = seen
            assert server.send_all_clients("one", "1") == 3
            assert server.send_group("red", "two") == 2
            assert server.send_room("lobby", "three", exclude="b", volatile=True) == 1
            assert server.send_many(["a"], "four", b"4", latest="key") == 1
            server.send_client("a", "five")
            await settle()
            assert seen.told == [
                # What nothing more is said of goes as the frame that is built for this server.
                ("everybody", "", build_command("one", b"1")),
                ("group", "red", build_command("two")),
                (audience.room("lobby", exclude="b"), "three", None, True, None),
                (audience.clients(["a"]), "four", b"4", False, "key"),
            ]
            heard = [hearing(peers, each) for each in ("one", "two", "three", "four", "five")]
            assert heard == ["abc", "ab", "c", "a", "a"]

    on_virtual_loop(main())


def test_a_backplane_sees_nothing_of_what_is_for_clients_of_this_server_alone() -> None:
    async def main() -> None:
        async with make() as server:
            peers = await crowd(server)
            seen: Any = Recorder()
            del seen.names["red"], seen.names["lobby"]
            server._hub.broadcast.backplane = seen
            assert server.send_group("red", "one") == 2
            assert server.send_room("lobby", "two", exclude="b", volatile=True) == 1
            assert server.send_group("blue", "three") == 1
            await settle()
            assert seen.told == [("group", "blue", build_command("three"))]
            assert [hearing(peers, each) for each in ("one", "two", "three")] == ["ab", "c", "c"]

    on_virtual_loop(main())


def test_a_backplane_sees_who_comes_changes_and_goes() -> None:
    async def main() -> None:
        async with make() as server:
            seen: Any = Recorder()
            server._hub.broadcast.backplane = seen
            peers = await crowd(server)
            peers["a"].raw(b"$CHNAME$Ada")
            peers["a"].raw(b"$CHGROUP$blue")
            await settle()
            server.disconnect_client("b")
            server.disconnect_all_clients()
            assert seen.told == [
                *(("admitted", name) for name in "abc"),
                *(("moved", name, "lobby", True) for name in "bc"),
                ("changed", "a", "red", "Ada", "red"),
                ("changed", "Ada", "red", "Ada", "blue"),
                ("left", "b"),
                ("left", "Ada"),
                ("left", "c"),
            ]

    on_virtual_loop(main())
