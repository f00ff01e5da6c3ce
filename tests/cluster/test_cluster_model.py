"""Whatever happens to nodes and the network: when it is over, all servers agree."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.memory import MemoryPeer, on_virtual_loop

import hisock
from cluster.servers import Game, game, link, me, rosters

_SERVERS = 3
_which = st.integers(0, _SERVERS - 1)
_steps = st.one_of(
    st.tuples(st.just("join"), _which, st.sampled_from(["Ada", "Bob", "Eve", "Zoe"])),
    st.tuples(st.just("leave"), _which, st.integers(0, 5)),
    st.tuples(st.just("rename"), _which, st.sampled_from(["Ada", "Bob", "Eve"])),
    st.tuples(st.just("room"), _which, st.integers(0, 5)),
    st.tuples(st.just("send"), _which, st.sampled_from(["all", "group", "room", "one"])),
    st.tuples(st.just("cut"), _which, _which),
    st.tuples(st.just("heal"), st.none(), st.none()),
    st.tuples(st.just("down"), _which, st.none()),
    st.tuples(st.just("up"), _which, st.none()),
    st.tuples(st.just("lose"), _which, st.booleans()),
    st.tuples(st.just("replace"), _which, st.none()),
    st.tuples(st.just("wait"), st.sampled_from([0.001, 0.3, 2.0, 7.0, 12.0]), st.none()),
)


class Story:
    """One sequence of events, and what every client received in it."""

    def __init__(self, made: Game) -> None:
        self.made = made
        self.slots = list(made.servers)
        self.dead: list[hisock.HiSockServer] = []
        self.peers: list[MemoryPeer] = []
        self.lossy: set[str] = set()
        self.sent = 0
        made.network.lose = lambda sender, receiver: sender in self.lossy

    async def step(self, what: str, a: Any, b: Any) -> None:
        server = self.slots[a] if isinstance(a, int) else self.slots[0]
        network = self.made.network
        clients = server.local.get_all_clients()
        if what == "join":
            self.peers.append(MemoryPeer(server, b, group="red"))
        elif what == "leave" and clients:
            server.local.disconnect_client(clients[b % len(clients)])
        elif what == "rename" and self.peers:
            self.peers[-1].raw(b"$CHNAME$" + b.encode())
        elif what == "room" and len(server):
            everybody = server.get_all_clients()
            server.join_room(everybody[b % len(everybody)], "room")
        elif what == "send":
            self.send(server, b)
        elif what == "cut" and a != b:
            network.cut(me(server), me(self.slots[b]))
        elif what == "heal":
            network.heal()
        elif what == "down":
            link(server).take_down()
        elif what == "up":
            link(server).bring_up()
        elif what == "lose":
            (self.lossy.add if b else self.lossy.discard)(me(server))
        elif what == "replace":
            network.kill(me(server))
            self.dead.append(server)
            self.slots[a] = await self.made.add()
        elif what == "wait":
            await asyncio.sleep(a)

    def send(self, server: hisock.HiSockServer, way: str) -> None:
        self.sent += 1
        text = f"{self.slots.index(server)}.{me(server)} {self.sent}"
        if way == "all":
            server.send_all_clients("n", text)
        elif way == "group":
            server.send_group("red", "n", text)
        elif way == "room":
            server.send_room("room", "n", text)
        elif len(server):
            server.send_client(server.get_all_clients()[-1], "n", text)

    async def end(self) -> None:
        """Everything is repaired; a while later all is as it should be."""
        self.lossy.clear()
        self.made.network.heal()
        for server in self.slots:
            link(server).bring_up()
        await asyncio.sleep(25)
        assert [server.cluster.state for server in self.slots] == ["up"] * _SERVERS
        assert len({tuple(map(tuple, each)) for each in rosters(self.slots)}) == 1
        assert {len(server.cluster.nodes) for server in self.slots} == {_SERVERS}
        assert len({server.cluster.leader for server in self.slots}) == 1
        total = sum(len(server.local) for server in self.slots)
        assert [len(server) for server in self.slots] == [total] * _SERVERS

    def check_names(self) -> None:
        names = [c.name for s in self.slots for c in s.local.get_all_clients()]
        assert len(names) == len(set(names))
        store = self.made.network.names
        assert store.keys() >= set(names)
        # What a killed server left behind can be taken by anybody.
        alive = {me(server) for server in self.slots}
        over = [store[name] for name in store.keys() - set(names)]
        assert [holder for holder in over if holder.partition(".")[0] in alive] == []

    def check_messages(self) -> None:
        for peer in self.peers:
            by_node: dict[bytes, list[int]] = {}
            for message in peer.named("n"):
                node, _, number = (message or b"").partition(b" ")
                by_node.setdefault(node, []).append(int(number))
            for numbers in by_node.values():
                assert numbers == sorted(set(numbers)), "out of order, or twice"


@given(steps=st.lists(_steps, max_size=25), broadcasts=st.booleans())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_servers_agree_when_it_is_over(steps: list[Any], broadcasts: bool) -> None:
    async def main() -> None:
        async with game(_SERVERS, broadcasts, unique_names=True) as made:
            story = Story(made)
            for what, a, b in steps:
                await story.step(what, a, b)
                await asyncio.sleep(0.001)
            await story.end()
            story.check_names()
            story.check_messages()

    on_virtual_loop(main())
