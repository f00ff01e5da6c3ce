"""The guarantees of docs/guide/cluster.md, one by one, on a simulated network."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest
from support.memory import MemoryPeer, on_virtual_loop

import hisock
from cluster.servers import Game, game, join, link, me, plane, rosters
from hisock._cluster.batch import open_entries


async def all_hear(made: Game, count: int) -> list[MemoryPeer]:
    """A client on each server, all of them in one group and one room."""
    peers = []
    for number, server in enumerate(made.servers[:count]):
        peer = await join(server, f"p{number}", group="all")
        server.join_room(peer.addr, "room")
        peers.append(peer)
    await asyncio.sleep(0.1)
    return peers


def numbers(peer: MemoryPeer, command: str = "n") -> list[int]:
    return [int(message or b"") for message in peer.named(command)]


def about(peer: MemoryPeer, name: str) -> list[str]:
    """The announcements of a client that another one has got."""
    payloads = [payload or b"" for _, payload in peer.frames]
    return [p.partition(b"{")[0].decode() for p in payloads if f'"{name}"'.encode() in p]


@pytest.mark.parametrize("broadcasts", [True, False])
def test_whoever_hears_from_a_server_knows_what_has_changed_there(broadcasts: bool) -> None:
    async def main() -> None:
        async with game(3, broadcasts) as made:
            one, two, _ = made.servers

            @two.cluster.on("whereabouts")
            def whereabouts(node: Any, name: str) -> list[object]:
                client = two.get_client(name)
                return [client["group"], [each.name for each in two.get_room("room")]]

            for number in range(20):
                name = f"late {number}"
                peer = MemoryPeer(one, name, group="new")
                while all(  # noqa: ASYNC110 - no time may pass, in which others learn of it
                    client.name != name for client in one.local.get_all_clients()
                ):
                    await asyncio.sleep(0)
                one.join_room(peer.addr, "room")
                known = await one.cluster.call(me(two), "whereabouts", name, type=list)
                assert (known[0], known[1][-1]) == ("new", name)

    on_virtual_loop(main())


@pytest.mark.parametrize("broadcasts", [True, False])
def test_one_server_reaches_one_client_in_order_whatever_way_it_sends(broadcasts: bool) -> None:
    async def main() -> None:
        async with game(3, broadcasts) as made:
            peers = await all_hear(made, 3)
            one, rng = made.servers[0], random.Random(1)
            ways: list[Any] = [
                lambda n: one.send_all_clients("n", n),
                lambda n: one.send_group("all", "n", n),
                lambda n: one.send_room("room", "n", n),
                lambda n: one.send_client("p1", "n", n),
                lambda n: one.send_many(["p1", "p2"], "n", n),
                lambda n: one.send_room("room", "n", n, exclude="p2"),
                lambda n: one.send_all_clients("n", n, volatile=True),
            ]
            for number in range(1, 500):
                rng.choice(ways)(number)
                if rng.random() < 0.1:
                    await asyncio.sleep(rng.random() / 200)
            await asyncio.sleep(1)
            for peer in peers:
                assert numbers(peer) == sorted(set(numbers(peer)))
            assert len(numbers(peers[1])) == 499
            assert one.stats().cluster.lost == 0  # type: ignore[union-attr] # it has a cluster

    on_virtual_loop(main())


@pytest.mark.parametrize("broadcasts", [True, False])
def test_what_threads_send_and_change_leaves_in_that_order(broadcasts: bool) -> None:
    async def main() -> None:
        async with game(3, broadcasts) as made:
            peers = await all_hear(made, 3)
            one = made.servers[0]
            for number in range(1, 301, 3):
                one.send_room("room", "n", number)
                other = threading.Thread(target=one.send_room, args=("room", "n", number + 1))
                other.start()
                other.join()
                one.send_group("all", "n", number + 2)
            await asyncio.sleep(1)
            assert [numbers(peer) for peer in peers] == [list(range(1, 301))] * 3
            batches: list[bytes] = []
            streams = plane(one).node.streams

            def seal(receiver: str, to_all: int, to_one: int, entries: list[bytes]) -> bytes:
                batches.append(b"".join(entries))
                return b""

            streams._seal = seal  # type: ignore[method-assign] # the batch is looked at instead
            one.send_room("room", "n", 1)
            one.join_room(peers[0].addr, "another")
            one.send_room("room", "n", 2)
            streams.flush()
            entries = open_entries(batches[0])
            assert [command for command, _ in entries] == ["rroom", None, "rroom"]

    on_virtual_loop(main())


def test_messages_of_one_batch_for_the_same_clients_keep_their_order_among_others() -> None:
    async def main() -> None:
        async with game(2) as made:
            one, two = made.servers
            red = await join(two, "red", group="red")
            blue = await join(two, "blue", group="blue")
            for peer in (red, blue):
                two.join_room(peer.addr, "room")
            await asyncio.sleep(0.1)
            batches = made.network.batches
            expected: dict[str, list[int]] = {"red": [], "blue": []}
            for number, target in enumerate(["red", "blue", "red", "room", "red", "*"] * 20):
                if target == "room":
                    one.send_room("room", "n", number)
                elif target == "*":
                    one.send_all_clients("n", number)
                else:
                    one.send_group(target, "n", number)
                for name in expected if target in ("room", "*") else [target]:
                    expected[name].append(number)
            await asyncio.sleep(0.1)
            assert made.network.batches - batches <= 2
            assert (numbers(red), numbers(blue)) == (expected["red"], expected["blue"])

    on_virtual_loop(main())


def test_a_message_for_many_travels_once_and_only_to_servers_with_somebody_to_reach() -> None:
    async def main() -> None:
        async with game(4) as made:
            one, two = made.servers[:2]
            await join(two, "b", group="red")
            before = made.network.batches
            one.send_group("red", "x")
            await asyncio.sleep(0.01)
            assert made.network.batches - before == 1
            before = made.network.batches
            for _ in range(50):
                one.send_group("red", "x")
            await asyncio.sleep(0.01)
            # The first one at once, the others with the next batch.
            assert made.network.batches - before <= 2

    on_virtual_loop(main())


def test_what_others_miss_is_never_waited_for_here() -> None:
    async def main() -> None:
        async with game(2) as made:
            here, there = await all_hear(made, 2)
            link(made.servers[0]).stall()
            made.servers[0].send_all_clients("n", 1)
            await asyncio.sleep(0.001)
            assert (numbers(here), numbers(there)) == ([1], [])

    on_virtual_loop(main())


def test_an_outage_loses_and_counts_what_was_sent_in_it_and_delivers_nothing_late() -> None:
    async def main() -> None:
        async with game(2) as made:
            peers = await all_hear(made, 2)
            one, two = made.servers
            one.send_all_clients("n", 1)
            await asyncio.sleep(0.1)
            for server in made.servers:
                link(server).take_down()
            await asyncio.sleep(1)
            assert one.cluster.state == "down"
            assert one.send_all_clients("n", 2) == 2  # as far as the roster knows
            gone = await join(two, "gone")
            with pytest.raises(hisock.ConnectionLost):
                await one.call("p1", "x")
            for server in made.servers:
                link(server).bring_up()
            await asyncio.sleep(2)
            one.send_all_clients("n", 3)
            await asyncio.sleep(0.1)
            assert (numbers(peers[0]), numbers(peers[1])) == ([1, 2, 3], [1, 3])
            assert one.stats().cluster.lost >= 1  # type: ignore[union-attr] # it has a cluster
            assert not gone.ended
            assert len(one) == len(two) == 3
            assert one.cluster.state == "up"

    on_virtual_loop(main())


def test_the_others_stay_known_for_the_grace_while_the_link_is_down() -> None:
    async def main() -> None:
        async with game(2, cluster={"grace": 10}, announce="all") as made:
            here, _ = await all_hear(made, 2)
            one = made.servers[0]
            link(one).take_down()
            await asyncio.sleep(9)
            assert len(one) == one.send_all_clients("n", 1) == 2
            one.send_client("p1", "n", 1)
            assert about(here, "p1") == ["$CLTCONN$"]
            await asyncio.sleep(2)
            assert len(one) == one.send_all_clients("n", 1) == 1
            with pytest.raises(hisock.ClientNotFound):
                one.send_client("p1", "n", 1)
            assert about(here, "p1") == ["$CLTCONN$", "$CLTDISCONN$"]
            link(one).bring_up()
            await asyncio.sleep(3)
            assert len(one) == 2
            assert about(here, "p1") == ["$CLTCONN$", "$CLTDISCONN$", "$CLTCONN$"]

    on_virtual_loop(main())


@pytest.mark.parametrize(("broadcasts", "seconds"), [(True, 1.5), (False, 0.1)])
def test_ghosts_of_a_killed_server_are_gone_soon(broadcasts: bool, seconds: float) -> None:
    async def main() -> None:
        async with game(4, broadcasts) as made:
            await all_hear(made, 4)
            await asyncio.sleep(6)
            made.network.kill(me(made.servers[1]))
            made.servers[0].send_client("p1", "n", 1)  # nobody knows yet, and nothing happens
            await asyncio.sleep(seconds)
            for server in (made.servers[0], made.servers[2], made.servers[3]):
                assert len(server) == 3
                assert len(server.cluster.nodes) == 3

    on_virtual_loop(main())


def test_a_server_that_hangs_is_given_up_and_comes_back_anew() -> None:
    async def main() -> None:
        async with game(3, announce="all") as made:
            peers = await all_hear(made, 3)
            one, two, three = made.servers
            for other in (one, three):
                made.network.cut(me(two), me(other))
            await asyncio.sleep(7)
            assert [len(server) for server in made.servers] == [2, 1, 2]
            made.network.heal()
            await asyncio.sleep(5)
            assert [len(server) for server in made.servers] == [3, 3, 3]
            assert rosters(made.servers)[0] == rosters(made.servers)[1]
            assert one.send_all_clients("n", 1) == 3
            await asyncio.sleep(0.1)
            assert [numbers(peer) for peer in peers] == [[1], [1], [1]]
            assert about(peers[0], "p1") == ["$CLTCONN$", "$CLTDISCONN$", "$CLTCONN$"]

    on_virtual_loop(main())


def test_after_an_outage_lists_are_equal_at_once_whoever_is_back_first() -> None:
    async def main() -> None:
        async with game(3) as made:
            servers = made.servers
            await asyncio.gather(*(join(server, f"p{n}") for n, server in enumerate(servers)))
            for server in servers:
                link(server).take_down()
            await asyncio.sleep(0.5)
            for number, server in enumerate(servers):
                await join(server, f"new {number}")
            for server in servers:
                link(server).bring_up()
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.05)
            assert [len(rows) for rows in rosters(servers)] == [6, 6, 6]

    on_virtual_loop(main())


def test_lost_changes_are_noticed_and_made_up_for() -> None:
    async def main() -> None:
        async with game(2) as made:
            one, two = made.servers
            await all_hear(made, 2)
            made.network.lose = lambda sender, receiver: sender == me(two)
            await join(two, "missed", group="all")
            await asyncio.sleep(0.5)
            made.network.lose = lambda sender, receiver: False
            await asyncio.sleep(1.2)
            assert one.get_client("missed").group == "all"
            stats = one.stats().cluster
            assert stats is not None
            assert (stats.missed, stats.resyncs) >= (1, 1)
            assert rosters(made.servers)[0] == rosters(made.servers)[1]

    on_virtual_loop(main())


@pytest.mark.parametrize("broadcasts", [True, False])
def test_every_message_that_a_link_loses_is_counted(broadcasts: bool) -> None:
    async def main() -> None:
        async with game(2, broadcasts) as made:
            one, two = made.servers
            _, peer = await all_hear(made, 2)
            stats = two.stats().cluster
            assert stats is not None
            before = stats.missed
            for number in range(100):
                made.network.lose = lambda sender, receiver, n=number: n % 10 < 3
                for _ in range(5):
                    one.send_all_clients("n", number)
                await asyncio.sleep(0.01)
            # Nobody is heard for so long that each gives the other up, and meets it again.
            made.network.lose = lambda sender, receiver: True
            await asyncio.sleep(4)
            one.send_all_clients("n", 100)
            await asyncio.sleep(4)
            made.network.lose = lambda sender, receiver: False
            await asyncio.sleep(3)
            stats = two.stats().cluster
            assert stats is not None
            missed, beats = stats.missed - before, 20
            assert len(numbers(peer)) == 350
            assert 151 <= missed <= 151 + beats

    on_virtual_loop(main())


def test_a_server_that_does_not_read_costs_what_waits_for_it_and_nothing_more() -> None:
    async def main() -> None:
        async with game(3, False, {"max_waiting": 1024 * 1024}) as made:
            peers = await all_hear(made, 3)
            one, two, three = made.servers
            stalled = link(one)
            stalled.stall(me(two))
            state, news = bytes(10_000), bytes(10_000)
            for _ in range(300):
                one.send_all_clients("state", state, volatile=True)
                one.send_all_clients("news", news)
                await asyncio.sleep(0.003)
            stats = one.stats().cluster
            assert stats is not None
            assert stats.waiting_bytes <= 1024 * 1024 + 30_000
            assert stats.lost > 100
            assert stats.behind >= 1
            assert (len(peers[2].named("state")), len(peers[2].named("news"))) == (300, 300)
            stalled.unstall(me(two))
            await join(one, "late")
            await asyncio.sleep(3)
            assert rosters([one])[0] == rosters([two])[0] == rosters([three])[0]
            one.send_all_clients("n", 7)
            await asyncio.sleep(0.1)
            assert numbers(peers[1]) == [7]

    on_virtual_loop(main())


def test_a_client_that_comes_back_to_another_server_ends_its_ghost_and_keeps_its_name() -> None:
    async def main() -> None:
        async with game(2, unique_names=True) as made:
            one, two = made.servers
            ghost = await join(one, "Ada", resume="secret" * 6)
            again = await join(two, "Ada", resume="secret" * 6)
            await asyncio.sleep(1.5)
            assert ghost.ended
            assert not again.ended
            assert one.get_client("Ada").node == me(two)
            assert len(one) == len(two) == 1
            thief = await join(one, "Ada")
            await asyncio.sleep(0.5)
            assert thief.ended

    on_virtual_loop(main())
