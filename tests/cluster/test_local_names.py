"""The hub of local links and the names that nodes ask it for, in memory and on virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.memory import on_virtual_loop

from hisock._cluster.control import Control, ControlMessage
from hisock._cluster.link import LinkDown
from hisock._cluster.local import LocalClaims
from hisock._cluster.local_hub import LocalHub, _Member
from hisock._runtime import peers
from hisock._runtime.memory import memory_pair

NODES = [letter * 16 for letter in "abcd"]


class Asking:
    """What a node asks a hub by: its names, and a connection in memory."""

    def __init__(self, hub: LocalHub, node: str) -> None:
        self.claims = LocalClaims()
        self.holder = f"{node}.1"
        self._node = node
        self._control = Control(self._hear, self.claims.lost)
        its, theirs = memory_pair()
        for transport, protocol in ((its, self._control), (theirs, _Member(hub))):
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
        self.claims.control = self._control
        self._control.send("join", node=node, where=f"/{node}.sock")

    def _hear(self, message: ControlMessage) -> None:
        if message["kind"] != "nodes":
            self.claims.hear(message)

    def tell(self) -> None:
        """Tell the hub the names that this node has."""
        self.claims.tell_held(self._control)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LocalHub:
    monkeypatch.setattr(peers, "is_same_user", lambda transport: True)
    return LocalHub(tmp_path)


def take_over(hub: LocalHub) -> list[Asking]:
    """Have a hub begin to wait for the names of all nodes."""
    hub.await_names(NODES)
    return [Asking(hub, node) for node in NODES]


@pytest.mark.parametrize("apart", [0.1, 1.7])
def test_a_join_outlasts_nodes_that_tell_a_new_hub_their_names_one_after_another(
    hub: LocalHub, apart: float
) -> None:
    async def main() -> None:
        nodes = take_over(hub)
        first, *others = nodes
        others[-1].claims.held["Ada"] = others[-1].holder
        first.tell()
        asked = [asyncio.ensure_future(first.claims.claim(n, first.holder)) for n in ("Ada", "Bob")]
        for node in others:
            await asyncio.sleep(apart)
            node.tell()
        assert await asyncio.gather(*asked) == [others[-1].holder, first.holder]

    on_virtual_loop(main())


def test_nodes_that_go_on_telling_names_hold_up_a_join_for_a_limited_time(hub: LocalHub) -> None:
    async def main() -> None:
        first, second, *_ = take_over(hub)
        loop = asyncio.get_running_loop()
        began = loop.time()
        asked = asyncio.ensure_future(first.claims.claim("Ada", first.holder))
        while not asked.done():
            second.claims.held[f"name {loop.time()}"] = second.holder
            second.claims.control.send("names", names={}, more=True)  # type: ignore[union-attr] # it is connected
            await asyncio.sleep(1)
        assert await asked == first.holder
        assert 7 < loop.time() - began <= 10

    on_virtual_loop(main())


def test_a_join_fails_in_time_where_the_hub_says_nothing(hub: LocalHub) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, *_ = take_over(hub)
        hub.hear = lambda member, message: None  # type: ignore[method-assign] # as if it hung
        began = loop.time()
        with pytest.raises(LinkDown):
            await first.claims.claim("Ada", first.holder)
        assert 2.9 < loop.time() - began < 3.1

    on_virtual_loop(main())
