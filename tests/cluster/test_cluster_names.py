"""Names that only one client of all servers has."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from support.memory import MemoryPeer, on_virtual_loop
from support.polling import until

import hisock
from cluster.servers import Game, game, join, link, me, plane
from hisock._server.connection import Connection


def holders(made: Game, name: str) -> int:
    return sum(peer.info.name == name for server in made.servers for peer in server._hub.registry)


def test_of_clients_that_race_for_a_name_on_all_servers_one_gets_it() -> None:
    async def main() -> None:
        async with game(3, unique_names=True) as made:
            rng = random.Random(3)
            for turn in range(20):
                name = f"name{turn}"
                racers = [MemoryPeer(s, name) for s in made.servers for _ in range(3)]
                rng.shuffle(racers)
                await asyncio.sleep(0.5)
                assert holders(made, name) == 1
                assert sum(not racer.ended for racer in racers) == 1
            assert len(made.network.names) == 20

    on_virtual_loop(main())


def test_a_name_that_its_client_gives_up_is_free_on_all_servers() -> None:
    async def main() -> None:
        async with game(2, unique_names=True) as made:
            one, two = made.servers
            a = await join(one, "Ada")
            b = await join(two, "Bob")
            b.raw(b"$CHNAME$Ada")
            await asyncio.sleep(0.2)
            assert two.get_client(b.addr).name == "Bob"
            a.raw(b"$CHNAME$Eve")
            await asyncio.sleep(0.2)
            b.raw(b"$CHNAME$Ada")
            await asyncio.sleep(0.2)
            assert one.get_client("Ada").addr == b.addr
            assert set(made.network.names) == {"Ada", "Eve"}
            a.raw(b"$USRCLOSE$")
            await asyncio.sleep(0.2)
            assert set(made.network.names) == {"Ada"}

    on_virtual_loop(main())


def test_the_names_of_a_killed_server_are_free_again() -> None:
    async def main() -> None:
        async with game(3, unique_names=True) as made:
            one, two, _ = made.servers
            for number in range(5):
                await join(two, f"n{number}")
            await asyncio.sleep(6)
            made.network.kill(me(two))
            await asyncio.sleep(1.5)
            assert set(made.network.names) == set()
            peer = await join(one, "n0")
            assert not peer.ended

    on_virtual_loop(main())


def test_without_the_link_only_clients_without_a_name_can_join() -> None:
    async def main() -> None:
        async with game(2, unique_names=True) as made:
            one = made.servers[0]
            link(one).take_down()
            await asyncio.sleep(0.1)
            named = MemoryPeer(one, "Ada", features=["reject"])
            await asyncio.sleep(0.1)
            assert named.ended
            assert b"$REJECT$the cluster is not reachable" in [p for _, p in named.frames]
            nameless = MemoryPeer(one, None)
            nameless.raw(b'$CLTHELLO${"name": null, "group": null}')
            await asyncio.sleep(0.1)
            assert not nameless.ended

    on_virtual_loop(main())


def test_a_store_that_lost_its_names_gets_them_again_and_losers_are_disconnected() -> None:
    async def main() -> None:
        async with game(2, unique_names=True) as made:
            one, two = made.servers
            a = await join(one, "Ada")
            b = await join(two, "Bob")
            for server in made.servers:
                link(server).take_down()
            await asyncio.sleep(0.1)
            made.network.names.clear()
            # Somebody on the other side of a partition took it meanwhile.
            made.network.names["Bob"] = f"{me(one)}.99"
            plane(one).names._owners[f"{me(one)}.99"] = next(iter(one._hub.registry))
            for server in made.servers:
                link(server).bring_up()
            await asyncio.sleep(1)
            assert not a.ended
            assert b.ended
            assert set(made.network.names) == {"Ada", "Bob"}

    on_virtual_loop(main())


def test_two_clients_with_one_name_are_warned_of_without_unique_names() -> None:
    async def main() -> None:
        async with game(2) as made:
            one, two = made.servers
            await join(one, "twin")
            await join(two, "twin")
            assert one.get_client("twin").node is None
            with pytest.raises(hisock.ClientNotFound):
                one.get_client("triplet")

    on_virtual_loop(main())


def test_a_client_that_is_gone_when_it_gets_its_name_does_not_keep_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with game(2, unique_names=True) as made:
            names = plane(made.servers[0]).names
            claim = names.claim

            async def claim_and_lose(connection: Connection, *more: Any) -> str | None:
                refusal = await claim(connection, *more)
                asyncio.get_running_loop().call_soon(connection.fail, "cut", "it went away")
                return refusal

            monkeypatch.setattr(names, "claim", claim_and_lose)
            lost = await join(made.servers[0], "Ada")
            await asyncio.sleep(0.5)
            assert lost.ended
            assert not made.network.names

    on_virtual_loop(main())


def test_a_client_is_told_the_name_that_the_program_gave_it() -> None:
    async def main() -> None:
        async with game(2, unique_names=True) as made:
            server = made.servers[0]
            server.authenticate(lambda name: hisock.Accept(name="Ann"))
            peer = MemoryPeer(server, "Eve", features=["names"])
            await asyncio.sleep(0.2)
            assert server.get_client("Ann").addr == peer.addr
            assert b"$CHNAME$Ann" in peer.named(None)

    on_virtual_loop(main())


def test_a_name_whose_claim_is_answered_after_its_client_has_hung_up_is_free() -> None:
    def answered_late(claims: Any) -> None:
        claim = claims.claim

        async def late(name: str, holder: str) -> str:
            got: str = await claim(name, holder)
            await asyncio.sleep(0.01)
            return got

        claims.claim = late

    async def main() -> None:
        async with game(2, unique_names=True) as made:
            one, two = made.servers
            for each in made.network.links.values():
                answered_late(each.claims)
            gone = MemoryPeer(one, "Ada")
            await until(lambda: made.network.names)
            gone.transport.close()
            await asyncio.sleep(1)
            assert not made.network.names
            other = MemoryPeer(two, "Ada")
            await asyncio.sleep(1)
            assert not other.ended
            assert holders(made, "Ada") == 1

    on_virtual_loop(main())
