"""While the program takes its time to decide, clients are kicked and cut, and come back.

Hypothesis chooses what happens and how far the loop gets in between. What has to hold is strict: a
client is there or has ended, no name belongs to two, what it sent is handled once and in order,
what was sent to it is received once and in order, each call ends once, and nothing is left behind.
Everything is in memory, on a clock that jumps.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from features.virtual_time import VirtualLoop
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.memory import MemoryPeer

import hisock
from hisock._core.account import Use

from .deciding import (
    CALL_SECONDS,
    DECISION_SECONDS,
    GROUPS,
    MOST_CLIENTS,
    NAMES,
    PICKS,
    SECRETS,
    TURNS,
    Player,
    check_call,
    replies,
)


class Deciding(RuleBasedStateMachine):
    """One server per example; see the module's text."""

    @initialize(
        unique=st.sampled_from([True, True, False]),
        decides=st.sampled_from(["nothing", "changes", "all", "all", "joins"]),
    )
    def start(self, unique: bool, decides: str) -> None:
        self.loop = VirtualLoop()
        self.unique = unique
        self.players: dict[tuple[str, int], Player] = {}
        self.there: dict[tuple[str, int], tuple[str | None, str | None]] = {}
        self.gates: list[asyncio.Future[Any]] = []
        self.calls: list[tuple[Any, float | None, asyncio.Future[int]]] = []
        self.number = 0
        self.run(self._start(decides), 0)
        for name in ("ann", "bob", None):
            self.connect(name, None, None, 0)

    async def _start(self, decides: str) -> None:
        self.server = server = hisock.HiSockServer(
            ("127.0.0.1", 0),
            announce="none",
            keepalive=False,
            unique_names=self.unique,
            auth_timeout=DECISION_SECONDS,
            hello_timeout=1e6,
        )
        if decides in ("joins", "all"):

            @server.authenticate
            async def authenticate(request: hisock.JoinRequest) -> Any:
                return await self._wait()

        if decides in ("changes", "all"):

            @server.authorize_change
            async def authorize(request: hisock.ChangeRequest) -> Any:
                return await self._wait() is not False

        self._wire(server)
        await server.__aenter__()

    def _wire(self, server: hisock.HiSockServer) -> None:
        @server.on("join")
        def join(client: hisock.ClientInfo) -> None:
            self.players[client.addr].joined += 1
            self.there[client.addr] = client.name, client.group

        @server.on("leave")
        def leave(client: hisock.ClientInfo) -> None:
            self.players[client.addr].left += 1
            assert self.there.pop(client.addr) == (client.name, client.group)

        server.on("name_change")(lambda client, old, new: self._change(client, 0, old, new))
        server.on("group_change")(lambda client, old, new: self._change(client, 1, old, new))

        @server.on("say")
        def say(client: hisock.ClientInfo, number: int) -> None:
            assert self.there[client.addr] == (client.name, client.group)
            self.players[client.addr].handled.append(number)

        @server.on("later")
        async def later(client: hisock.ClientInfo, number: int) -> None:
            assert self.there[client.addr] == (client.name, client.group)
            self.players[client.addr].handled.append(number)
            await self._wait()

        @server.on("ask", concurrent=True)
        async def ask(client: hisock.ClientInfo, number: int) -> int:
            await self._wait()
            return number

    def _change(self, client: hisock.ClientInfo, at: int, old: Any, new: Any) -> None:
        before = list(self.there[client.addr])
        assert before[at] == old
        before[at] = new
        self.there[client.addr] = before[0], before[1]
        assert self.there[client.addr] == (client.name, client.group)

    async def _wait(self) -> Any:
        gate: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        answer = await gate
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, main: Coroutine[Any, Any, None], turns: int) -> None:
        """Run something, and then the loop for so many iterations."""

        async def both() -> None:
            await main
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(both())

    # -- what happens

    def _active(self) -> list[Player]:
        return [player for player in self.players.values() if player.active]

    def _pick(self, pick: int) -> Player | None:
        """One of those who are there, if there are any.

        What is drawn depends on nothing else, since the real clock has a say in what happens.
        """
        players = self._active()
        return players[pick % len(players)] if players else None

    def _next(self) -> int:
        self.number += 1
        return self.number

    @rule(name=NAMES, group=GROUPS, secret=SECRETS, turns=TURNS)
    def connect(self, name: str | None, group: str | None, secret: str | None, turns: int) -> None:
        if len(self._active()) == MOST_CLIENTS:
            return

        async def main() -> None:
            resume = {} if secret is None else {"resume": secret}
            peer = MemoryPeer(self.server, None)
            self.players[peer.addr] = Player(peer, secret)
            peer.hello(name, group=group, features=["reject", "call", "names"], **resume)

        self.run(main(), turns)

    @rule(
        pick=PICKS,
        kinds=st.lists(st.sampled_from(["say", "later", "ask"]), min_size=1, max_size=4),
        turns=TURNS,
    )
    def talk(self, pick: int, kinds: list[str], turns: int) -> None:
        player = self._pick(pick)
        if player is None:
            return

        async def main() -> None:
            for kind in kinds:
                number = self._next()
                if kind == "ask":
                    player.asked.append(number)
                    player.peer.raw(b"$CALL$%d$CMD$ask$MSG$%d" % (number, number))
                else:
                    player.said.append(number)
                    player.peer.send(kind, b"%d" % number)

        self.run(main(), turns)

    @rule(pick=PICKS, name=NAMES, group=GROUPS, both=st.booleans(), turns=TURNS)
    def change(
        self, pick: int, name: str | None, group: str | None, both: bool, turns: int
    ) -> None:
        player = self._pick(pick)
        if player is None:
            return

        async def main() -> None:
            player.peer.raw(b"$CHNAME$" + (name or "").encode())
            if both:
                player.peer.raw(b"$CHGROUP$" + (group or "").encode())

        self.run(main(), turns)

    @rule(
        pick=PICKS,
        answer=st.sampled_from([True, True, False, "Accept", "Reject", "error"]),
        name=NAMES,
        turns=TURNS,
    )
    def decide(self, pick: int, answer: Any, name: str | None, turns: int) -> None:
        """What the program waits for comes: an answer, or the end of what a handler awaits."""
        if not self.gates:
            return
        gate = self.gates.pop(pick % len(self.gates))
        answers = {
            "Accept": hisock.Accept(name=name),
            "Reject": hisock.Reject("no"),
            "error": ValueError("of the program"),
        }

        async def main() -> None:
            if not gate.done():  # it was cancelled
                gate.set_result(answers.get(answer, answer))

        self.run(main(), turns)

    @rule(pick=PICKS, force=st.booleans(), turns=TURNS)
    def kick(self, pick: int, force: bool, turns: int) -> None:
        player = self._pick(pick)
        if player is None:
            return

        async def main() -> None:
            try:
                self.server.disconnect_client(player.peer.addr, force=force, call_func=True)
                player.kicked = True
            except hisock.ClientNotFound:  # not yet, or no more
                assert player.peer.addr not in self.there

        self.run(main(), turns)

    @rule(pick=PICKS, how=st.sampled_from(["leaves", "is cut", "is reset"]), turns=TURNS)
    def end(self, pick: int, how: str, turns: int) -> None:
        player = self._pick(pick)
        if player is None:
            return

        async def main() -> None:
            if how == "leaves":
                player.peer.raw(b"$USRCLOSE$")
                player.leaving = True
            elif how == "is cut":
                player.peer.transport.write_eof()
                player.leaving = True
            else:
                player.peer.transport.reset()
                player.kicked = True

        self.run(main(), turns)

    @rule(pick=PICKS, count=st.integers(1, 3), turns=TURNS)
    def send(self, pick: int, count: int, turns: int) -> None:
        """The server sends to several at once, by what it knows of them."""
        addresses = {addr for bit, addr in enumerate(sorted(self.there)) if pick >> bit & 1}

        async def main() -> None:
            for _ in range(count):
                number = self._next()
                present = addresses & self.there.keys()  # the loop goes on before this
                infos = [self.server.get_client(addr) for addr in present]
                taken = self.server.send_many(infos, "n", b"%d" % number)
                players = [self.players[addr] for addr in present]
                # One that is lost is there until its handler has ended, and takes nothing.
                assert sum(player.active for player in players) <= taken <= len(infos)
                for player in players:
                    player.sent.append(number)

        self.run(main(), turns)

    @rule(pick=PICKS, timeout=st.sampled_from([CALL_SECONDS, None]), turns=TURNS)
    def call(self, pick: int, timeout: float | None, turns: int) -> None:
        addr = sorted(self.there or [("memory", 0)])[pick % max(len(self.there), 1)]

        async def main() -> None:
            calling = self.server.call(addr, "ping", type=int, timeout=timeout)
            self.calls.append((addr, timeout, asyncio.ensure_future(calling)))

        self.run(main(), turns)

    @rule(pick=PICKS, twice=st.booleans(), turns=TURNS)
    def answer(self, pick: int, twice: bool, turns: int) -> None:
        """A client answers all calls that it has read, perhaps once more."""
        player = self._pick(pick)
        if player is None:
            return

        async def main() -> None:
            for _, payload in player.peer.frames:
                if payload is not None and payload.startswith(b"$CALL$"):
                    number = payload.split(b"$")[2]
                    for _ in range(1 + twice):
                        player.peer.raw(b"$REPLY$" + number + b"$MSG$1")

        self.run(main(), turns)

    @rule(seconds=st.sampled_from([0.01, CALL_SECONDS + 1, DECISION_SECONDS + 1]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds), 0)

    # -- what has to hold

    @invariant()
    def names_are_unique(self) -> None:
        if hasattr(self, "server") and self.unique:
            names = Counter(info.name for info in self.server.get_all_clients())
            assert all(count == 1 for name, count in names.items() if name is not None)

    @invariant()
    def those_who_joined_are_there(self) -> None:
        if hasattr(self, "server"):
            found = {info.addr: (info.name, info.group) for info in self.server.get_all_clients()}
            assert found == self.there

    @rule()
    def settle(self) -> None:
        """Whatever is waited for comes, and nothing is under way any more."""

        async def main() -> None:
            for _ in range(100):
                gates, self.gates = self.gates, []
                for gate in gates:
                    if not gate.done():
                        gate.set_result(True)
                await asyncio.sleep(1)
                if not gates and not self.gates:
                    break

        self.run(main(), 300)
        for player in self.players.values():
            self._check(player)
        secrets = Counter(p.secret for p in self._active() if p.secret)
        assert all(count == 1 for count in secrets.values())
        hub = self.server._hub
        assert {connection.addr for connection in hub.connections} == set(self.there)
        assert not hub.decisions._waiting
        assert hub.admission._count._all == len(self.there)
        assert {use.name.lower(): 0 for use in Use} == hub.memory.by_kind()
        for name in ("ann", "bob"):
            named = [addr for addr, (its, _) in self.there.items() if its == name]
            assert hub.registry.has_name(name) == bool(named)

    def _check(self, player: Player) -> None:
        addr = player.peer.addr
        assert player.peer.ended == (addr not in self.there)
        assert player.joined - player.left == (addr in self.there)
        assert player.joined <= 1
        assert player.handled == player.said[: len(player.handled)]
        answered = [number for number in player.asked if replies(player, number)]
        assert all(replies(player, number) == 1 for number in answered)
        received = [int(message or 0) for message in player.peer.named("n")]
        if addr in self.there:
            assert player.handled == player.said
            assert answered == player.asked
            assert received == player.sent
        else:
            assert received == player.sent[: len(received)]
        if player.leaving and player.joined and not player.secret:
            assert player.handled == player.said, "it ended in order, and nothing is lost"

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        try:
            self.settle()
            self.run(asyncio.sleep(CALL_SECONDS + 1), 0)
            for addr, timeout, calling in self.calls:
                check_call(timeout is None and addr in self.there, calling)
        finally:
            self.run(self._close(), 0)
            self.loop.close()

    async def _close(self) -> None:
        await self.server.__aexit__(None, None, None)
        assert not len(self.server)
        assert all(player.peer.ended for player in self.players.values())


Deciding.TestCase.settings = settings(
    max_examples=200 if os.environ.get("HISOCK_MODEL") else 60,
    stateful_step_count=50,
    deadline=None,
    derandomize=os.environ.get("HISOCK_MODEL") != "random",
    database=None,
    # soak.faults asks only whether it fails, and not for the shortest way to that.
    phases=(Phase.generate,) if os.environ.get("HISOCK_MODEL") == "fails" else tuple(Phase),
    suppress_health_check=list(HealthCheck),
)
TestDeciding = Deciding.TestCase
