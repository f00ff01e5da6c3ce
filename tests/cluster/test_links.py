"""What a link guarantees, whatever carries it. Held here for the simulated one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.memory import on_virtual_loop

from cluster.simulated import Network, SimulatedLink
from hisock._cluster.link import LinkDown, NodeHello, NodeLink


class Ear:
    """A receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, what: str) -> Any:
        return lambda *args: self.told.append((what, *args))

    def batches(self) -> list[bytes]:
        return [args[0] for what, *args in self.told if what == "received"]


async def started(network: Network, *nodes: str) -> tuple[list[SimulatedLink], list[Ear]]:
    links, ears = [], []
    for node in nodes:
        links.append(network.link())
        ears.append(Ear())
        await links[-1].start(NodeHello(node=node, app="a", header_len=16, codec="json"), ears[-1])
    await asyncio.sleep(1)
    return links, ears


def test_a_simulated_link_is_a_link() -> None:
    link: NodeLink = Network().link()
    assert link.broadcasts


@pytest.mark.parametrize("broadcasts", [True, False])
def test_batches_of_a_node_arrive_once_in_order_and_not_at_itself(broadcasts: bool) -> None:
    async def main() -> None:
        (a, _, _), ears = await started(Network(broadcasts), "a", "b", "c")
        for number in range(10):
            assert a.send("b", b"%d" % number)
            if broadcasts:
                assert a.send_all(b"all %d" % number)
        await asyncio.sleep(1)
        alls = [[b"all %d" % number] if broadcasts else [] for number in range(10)]
        expected = [one for number in range(10) for one in (b"%d" % number, *alls[number])]
        assert ears[1].batches() == expected
        assert ears[2].batches() == [one for some in alls for one in some]
        assert ears[0].batches() == []
        assert ("appeared", "b") in ears[0].told or broadcasts

    on_virtual_loop(main())


def test_a_link_that_is_down_takes_nothing_and_discards_what_it_held() -> None:
    async def main() -> None:
        (a, _), ears = await started(Network(), "a", "b")
        a.stall()
        assert a.send_all(b"held")
        a.take_down()
        a.unstall()
        assert not a.send_all(b"late")
        assert not a.send("b", b"late")
        with pytest.raises(LinkDown):
            await a.claims.claim("Ada", "a:1")
        a.bring_up()
        assert a.send_all(b"new")
        await asyncio.sleep(1)
        assert ears[1].batches() == [b"new"]
        assert [what for what, *_ in ears[0].told if what != "writable"] == ["up", "down", "up"]

    on_virtual_loop(main())


def test_a_link_takes_no_more_than_its_limit() -> None:
    async def main() -> None:
        (a, _), _ = await started(Network(), "a", "b")
        a.stall()
        sent = 0
        while a.send_all(bytes(100_000)):
            sent += 1
        assert sent == a.limit // 100_000
        assert a.backlog(None) == sent * 100_000

    on_virtual_loop(main())


def test_only_one_of_many_gets_a_name_and_only_its_holder_gives_it_up() -> None:
    async def main() -> None:
        links, _ = await started(Network(), "a", "b", "c")
        won = await asyncio.gather(*(link.claims.claim("Ada", link.node) for link in links))
        assert len(set(won)) == 1
        holder, other = won[0], "abc".replace(won[0], "")[0]
        await links[0].claims.release("Ada", other)
        assert await links[0].claims.claim("Ada", other) == holder
        assert await links[0].claims.move("Ada", holder, other)
        assert not await links[0].claims.move("Ada", holder, holder)
        await links[0].claims.release("Ada", other)
        assert await links[0].claims.claim("Ada", holder) == holder

    on_virtual_loop(main())
