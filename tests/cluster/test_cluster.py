"""Two and more servers as one: the methods of a server reach the clients of all of them."""

from __future__ import annotations

import asyncio
import sys
import warnings
from typing import Any

import msgspec
import pytest
from support.memory import MemoryPeer, on_virtual_loop

import hisock
from cluster.servers import Game, game, join, me
from hisock._cluster.records import Moved, Row
from hisock._cluster.roster import ClusterRoster
from hisock._core.addresses import format_addr


async def crowd(made: Game) -> dict[str, MemoryPeer]:
    """A and C on the first server, B and D on the second; A and B red, C and D in the lobby."""
    one, two = made.servers[:2]
    peers = {
        "a": await join(one, "a", group="red"),
        "b": await join(two, "b", group="red"),
        "c": await join(one, "c"),
        "d": await join(two, "d"),
    }
    for name in "cd":
        one.join_room(name, "lobby")
    await asyncio.sleep(0.1)
    return peers


def hearing(peers: dict[str, MemoryPeer], command: str) -> str:
    return "".join(name for name, peer in peers.items() if peer.named(command))


@pytest.mark.parametrize("broadcasts", [True, False])
def test_what_is_sent_reaches_the_clients_of_all_servers(broadcasts: bool) -> None:
    async def main() -> None:
        async with game(3, broadcasts) as made:
            one, two, _ = made.servers
            peers = await crowd(made)
            assert one.send_all_clients("all", "1") == 4
            assert two.send_group("red", "red", {"x": 1}) == 2
            assert one.send_room("lobby", "lobby", volatile=True) == 2
            assert one.send_room("lobby", "others", exclude="d", latest="k") == 1
            assert one.send_many(["a", "d", "nobody"], "many") == 2
            one.send_client("b", "name")
            one.send_client(one.get_client("d"), "info", 0)
            two.send_client(peers["a"].addr, "address")
            assert one.local.send_all_clients("near") == 2
            await asyncio.sleep(0.1)
            heard = {
                name: hearing(peers, name) for name in ("all", "red", "lobby", "others", "many")
            }
            assert heard == {"all": "abcd", "red": "ab", "lobby": "cd", "others": "c", "many": "ad"}
            alone = {name: hearing(peers, name) for name in ("name", "info", "address", "near")}
            assert alone == {"name": "b", "info": "d", "address": "a", "near": "ac"}
            assert peers["b"].named("red") == [b'{"x":1}']

    on_virtual_loop(main())


def test_names_of_groups_that_are_no_commands_and_messages_larger_than_a_batch_arrive() -> None:
    async def main() -> None:
        async with game() as made:
            one, two = made.servers
            odd = await join(two, "odd", group="$MSG$ and more")
            one.send_group("$MSG$ and more", "small")
            one.send_group("$MSG$ and more", "large", bytes(1_000_000))
            one.send_all_clients("large", bytes(700_000))
            await asyncio.sleep(0.5)
            assert odd.named("small")
            assert [len(message or b"") for message in odd.named("large")] == [1_000_000, 700_000]

    on_virtual_loop(main())


def test_look_ups_know_the_clients_of_all_servers() -> None:
    async def main() -> None:
        async with game() as made:
            one, two = made.servers
            peers = await crowd(made)
            assert len(one) == len(two) == len(one.clients) == 4
            assert {info.name for info in one.get_group("red")} == {"a", "b"}
            assert {info.name for info in two.get_room("lobby")} == {"c", "d"}
            assert one.rooms("d") == {"lobby"}
            assert one.clients[peers["b"].addr].name == "b"
            info = one.get_client("b")
            assert (info.node, two.get_client("b").node) == (me(two), None)
            assert len(one.local) == 2
            with pytest.raises(hisock.ClientNotFound):
                one.local.get_client("b")
            with pytest.raises(hisock.GroupNotFound):
                one.get_group("blue")
            peers["a"].raw(b"$GETCLT$b")
            await asyncio.sleep(0.05)
            assert b'"name":"b"' in (peers["a"].frames[-1][1] or b"")

    on_virtual_loop(main())


@pytest.mark.parametrize(
    ("ip", "port"),
    [("10.0.0.7", 5000), ("0.0.0.0", 0), ("::1", 65535), ("unix", 70000), ("fe80::1%eth0", 80)],
)
def test_a_client_is_found_by_its_address_whatever_its_form(ip: str, port: int) -> None:
    roster = ClusterRoster()
    row = Row(1, ip, port, resume=bytes(15) + b"\1", rooms=["b", "a"])
    client = roster.add("0" * 16, row)
    assert client.addr == (ip, port)
    assert client.info.ip == client.ip == format_addr((ip, port))
    assert roster.at((ip, port)) is client
    if port < 65536:
        assert roster.at([ip, str(port)]) is client
    assert roster.at((ip, port + 1)) is None
    assert roster.resuming(row.resume) is client
    assert msgspec.structs.replace(client.row(), rooms=row.rooms) == row
    roster.remove(client)
    assert roster.at((ip, port)) is roster.resuming(row.resume) is None


def test_clients_in_the_same_rooms_share_one_set_of_them() -> None:
    roster = ClusterRoster()
    one, two = (roster.add("0" * 16, Row(n, "::1", n, rooms=["all", "7"])) for n in (1, 2))
    other = roster.add("1" * 16, Row(3, "::1", 3, rooms=["all"]))
    assert two.rooms is one.rooms
    assert other.rooms == {"all"}
    roster.move(other, Moved(3, "7", True))
    assert other.rooms is one.rooms
    roster.move(other, Moved(3, "all", False))
    assert one.rooms == {"all", "7"}
    assert other.rooms == {"7"}
    roster.move(two, Moved(2, "all", False))
    assert two.rooms is other.rooms
    assert roster.rooms.of("all") == [one]
    assert roster.room_reach.all["7"].counts == {"0" * 16: 2, "1" * 16: 1}
    for room in ("7", "8"):
        roster.move(two, Moved(2, room, room == "8"))
    assert two.rooms == {"8"}
    assert other.rooms == {"7"}


def test_clients_of_one_node_share_its_name_and_have_a_place_for_a_secret_if_they_have_one() -> (
    None
):
    roster = ClusterRoster()
    rows = [Row(n, "::1", n, flags=n // 3, resume=b"\1" * (16 * (n == 3))) for n in (1, 2, 3)]
    one, two, three = (roster.add("0" * 16, row) for row in rows)
    assert two.home is one.home
    assert (three.node, three.flags, one.flags) == ("0" * 16, 1, 0)
    assert [client.row() for client in roster] == rows
    assert sys.getsizeof(one) < sys.getsizeof(three)


def test_what_is_local_by_nature_says_so_and_what_to_do_instead() -> None:
    async def main() -> None:
        async with game() as made:
            one, two = made.servers
            await join(two, "b")
            for ask in (one.session, one.backlog):
                with pytest.raises(hisock.NotLocal, match=f"node {me(two)}.*cluster.call"):
                    ask("b")
            with pytest.raises(hisock.NotSupported, match=r"use call\(\)"):
                await one.wait_for("x", client="b")

    on_virtual_loop(main())


def test_a_client_that_changes_and_leaves_does_so_everywhere() -> None:
    async def main() -> None:
        async with game() as made:
            one, two = made.servers
            peer = await join(two, "b", group="red")
            peer.raw(b"$CHNAME$Bob")
            peer.raw(b"$CHGROUP$blue")
            two.join_room(peer.addr, "lobby")
            await asyncio.sleep(0.05)
            info = one.get_client(peer.addr)
            assert (info.name, info.group, one.rooms(info)) == ("Bob", "blue", {"lobby"})
            one.leave_room("Bob", "lobby")
            assert one.send_room("lobby", "x") == 0
            await asyncio.sleep(0.05)
            assert two.rooms("Bob") == set()
            one.disconnect_client("Bob")
            await asyncio.sleep(0.05)
            assert peer.ended
            with pytest.raises(hisock.ClientNotFound):
                one.send_client("Bob", "x")
            with pytest.raises(hisock.ClientNotFound):
                one.send_client(info, "x")

    on_virtual_loop(main())


def test_a_client_of_another_server_can_be_called() -> None:
    async def main() -> None:
        async with game() as made:
            one, two = made.servers
            peer = await join(two, "b")
            asking = asyncio.ensure_future(one.call("b", "add", [1, 2], type=int))
            await asyncio.sleep(0.01)
            question = peer.frames[-1][1] or b""
            assert question.startswith(b"$CALL$")
            assert question.endswith(b"$CMD$add$MSG$[1,2]")
            number = question[len(b"$CALL$") :].partition(b"$")[0]
            peer.raw(b"$REPLY$" + number + b"$MSG$3")
            assert await asking == 3
            with pytest.raises(TimeoutError):
                await one.call("b", "add", timeout=0.5)
            unanswered = asyncio.ensure_future(one.call("b", "add", timeout=None))
            await asyncio.sleep(6)
            made.network.kill(me(two))
            with pytest.raises(hisock.ConnectionLost):
                await unanswered

    on_virtual_loop(main())


def test_servers_ask_each_other() -> None:
    async def main() -> None:
        async with game() as made:
            one, two = made.servers

            @two.cluster.on("double")
            async def double(node: Any, number: int) -> int:
                assert node.node == me(one)
                await asyncio.sleep(0.01)
                return 2 * number

            @two.cluster.on("fail")
            def fail() -> None:
                raise hisock.RemoteError("no", code=7, data=[1])

            assert await one.cluster.call(two.cluster.me, "double", 21, type=int) == 42
            with pytest.raises(hisock.RemoteError, match="no") as caught:
                await one.cluster.call(me(two), "fail")
            assert (caught.value.code, caught.value.data) == (7, [1])
            with pytest.raises(hisock.RemoteError, match="no handler"):
                await two.cluster.call(me(two), "nothing")
            with pytest.raises(hisock.ConnectionLost):
                await one.cluster.call("0" * 16, "double", 1)
            figures, missing = await one.cluster.stats()
            assert figures.keys() == {me(one), me(two)}
            assert missing == []
            assert figures[me(two)].clients == 0

    on_virtual_loop(main())


def test_servers_that_come_and_go_are_events_and_all_agree_on_the_leader() -> None:
    async def main() -> None:
        async with game(1) as made:
            one = made.servers[0]
            seen: list[Any] = []

            def joined(node: hisock.NodeInfo) -> None:
                seen.append(("join", node.node))

            def left(node: hisock.NodeInfo, clients: list[hisock.ClientInfo]) -> None:
                seen.append(("leave", node.node, [client.name for client in clients]))

            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a node in the place of the client is no mistake
                one.on("node_join")(joined)
                one.on("node_leave")(left)
            two = await made.add()
            await join(two, "b")
            three = await made.add()
            assert {s.cluster.leader.node for s in made.servers} == {me(one)}
            assert len({s.cluster.node_for("room").node for s in made.servers}) == 1
            assert [s.cluster.state for s in made.servers] == ["up"] * 3
            three.close()
            await asyncio.sleep(6)
            made.network.kill(me(two))
            await asyncio.sleep(1.5)
            joins = [("join", me(two)), ("join", me(three))]
            assert seen == [*joins, ("leave", me(three), []), ("leave", me(two), ["b"])]
            assert len(one) == 0

    on_virtual_loop(main())


def test_a_tick_with_once_runs_on_one_server() -> None:
    async def main() -> None:
        async with game(3) as made:
            counts = [0, 0, 0]

            def count(which: int) -> Any:
                def tick() -> None:
                    counts[which] += 1

                return tick

            for which, server in enumerate(made.servers):
                server.every(1, once=True)(count(which))
            await asyncio.sleep(10.5)
            assert counts == [10, 0, 0]
            made.network.kill(me(made.servers[0]))
            await asyncio.sleep(5)
            assert counts[1] >= 3
            assert counts[2] == 0

    on_virtual_loop(main())


def test_clients_hear_of_those_who_join_and_leave_on_all_servers_once() -> None:
    async def main() -> None:
        async with game(2, announce="all") as made:
            one, two = made.servers
            a = await join(one, "a")
            b = await join(two, "b")
            await asyncio.sleep(0.1)
            b.raw(b"$USRCLOSE$")
            await asyncio.sleep(0.1)
            about_b = [m for _, m in a.frames if m is not None and b'"b"' in m]
            assert [m.partition(b"{")[0] for m in about_b] == [b"$CLTCONN$", b"$CLTDISCONN$"]

    on_virtual_loop(main())


def test_a_server_without_a_cluster_is_alone_in_one() -> None:
    async def main() -> None:
        async with hisock.HiSockServer(("127.0.0.1", 0), announce="none") as server:
            server.cluster.on("double")(lambda node, number: 2 * int(number))
            alone = server.cluster
            assert alone.nodes == [alone.me] == [alone.leader] == [alone.node_for("room")]
            assert await alone.call(alone.me, "double", 4, type=int) == 8
            with pytest.raises(hisock.ConnectionLost):
                await alone.call("0" * 16, "double", 4)
            assert (len(server.local), server.stats().cluster) == (0, None)
            figures, missing = await alone.stats()
            assert (figures[alone.me.node].clients, missing) == (0, [])

    on_virtual_loop(main())


def test_the_figures_of_a_cluster_are_metrics() -> None:
    metrics = pytest.importorskip("hisock.metrics", reason="needs hisock[metrics]")

    async def main() -> None:
        async with game() as made:
            one, two = made.servers
            await join(two, "b")
            one.send_all_clients("x")
            await asyncio.sleep(0.1)
            found = {
                sample.name: sample.value
                for family in metrics.ServerCollector({"one": one}).collect()
                for sample in family.samples
            }
            assert found["hisock_cluster_nodes"] == found["hisock_cluster_clients"] == 1
            assert found["hisock_cluster_up"] == 1
            assert found["hisock_cluster_sent_entries_total"] >= 1
            assert found["hisock_cluster_lost_messages_total"] == 0

    on_virtual_loop(main())
