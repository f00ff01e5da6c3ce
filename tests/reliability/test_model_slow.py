"""A client stops reading and reads again, under every policy for slow clients, against a model.

Hypothesis chooses what is sent meanwhile. The model knows what may be refused and what may not;
``stats().dropped`` says which messages were. From that follows, frame by frame, what the client
must have received when it has caught up. Everything is in memory, on a clock that jumps.

``python -m soak.faults`` shows what it finds: fifteen faults, planted one by one, from an answer
that is dropped to a state that counts for no limit.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from features.virtual_time import VirtualLoop
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from support.memory import MemoryPeer

import hisock
from hisock._runtime.memory import WINDOW

SEND_BUFFER = 100_000
#: Bytes that a transport holds before it pauses, and those of the longest message sent here.
HIGH_WATER, LONGEST = 65_536, 20_000
SIZES = st.sampled_from([10, 1000, LONGEST])
BEHIND = precondition(lambda self: not self.reading)


class Answering(MemoryPeer):
    """A client that answers every call as soon as it reads it."""

    def data_received(self, data: bytes) -> None:
        before = len(self.frames)
        super().data_received(data)
        for command, payload in self.frames[before:]:
            if command is None and payload is not None and payload.startswith(b"$CALL$"):
                number = payload.removeprefix(b"$CALL$").partition(b"$")[0]
                self.raw(b"$REPLY$" + number + b"$MSG$pong")


class SlowClient(RuleBasedStateMachine):
    """One client that reads now and then, beside one that always reads.

    :ivar refusing: whether the server refuses it messages; ``None`` if it may have stopped that.
    :ivar wanted: what it must receive, in order, without newest states.
    :ivar newest: the newest state of each key that was not refused.
    :ivar held: bytes at most of control frames that wait while messages are refused, and of those
        that wait in any case, ``surely_held``.
    :ivar asked: what the function was asked, and its answers, since the client last caught up.
    """

    @initialize(policy=st.sampled_from(["drop", "disconnect", "function"]))
    def start(self, policy: str) -> None:
        self.loop = VirtualLoop()
        self.answer: Any = "drop"
        self.on_slow = policy
        self.number = self.dropped = self.ends = 0
        self.for_all: list[int] = []
        self.run(self._start(self._decide if policy == "function" else policy))

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(main)

    async def _start(self, on_slow: Any) -> None:
        self.server = hisock.HiSockServer(
            ("127.0.0.1", 0),
            announce="none",
            keepalive=False,
            send_buffer=SEND_BUFFER,
            on_slow=on_slow,
        )
        await self.server.__aenter__()
        self.lively = MemoryPeer(self.server, "lively")
        await self._connect()

    async def _connect(self) -> None:
        self.peer = Answering(self.server, "slow", features=["call"])
        self.reading = True
        self.refusing: bool | None = False
        self.wanted: list[Any] = []
        self.newest: dict[str, int] = {}
        self.held = self.surely_held = 0
        self.asked: list[tuple[int, Any]] = []
        self.calls: list[asyncio.Future[Any]] = []
        self.sipped = False
        await self._turns()
        self.peer.frames.clear()  # the answer to its hello
        self.peer.raw(b"$GETCLT$lively")
        await self._turns()
        self.client_answer = self.peer.frames.pop()
        assert self.peer.frames == []

    def _decide(self, client: hisock.ClientInfo, backlog: int) -> Any:
        assert client.name == "slow"
        assert backlog > SEND_BUFFER
        if self.asked and not self.sipped:
            last, said = self.asked[-1]
            assert said is None, "it was asked again, though it had decided"
            assert backlog > last + SEND_BUFFER
        self.asked.append((backlog, self.answer))
        return self.answer

    async def _turns(self) -> None:
        for _ in range(40):
            await asyncio.sleep(0)

    # -- what happens

    @rule(answer=st.sampled_from(["drop", "disconnect", None]))
    def change_its_mind(self, answer: str | None) -> None:
        self.answer = answer

    @rule()
    def stop_reading(self) -> None:
        self.peer.transport.pause_reading()
        self.reading = False

    @rule(count=st.sampled_from([7, 9, 14, 20]))
    def fall_behind(self, count: int) -> None:
        """Read nothing while much is sent: its transport is full, or its backlog too large."""
        self.stop_reading()
        self.run(self._send(count, LONGEST, "client"))

    @rule(count=st.integers(1, 15), size=SIZES, kind=st.sampled_from(["client", "all", "volatile"]))
    def send(self, count: int, size: int, kind: str) -> None:
        if self.reading or kind == "all":
            # What is sent at once is never more than a client that reads may be behind.
            count = min(count, WINDOW // (size + 100))
        self.run(self._send(count, size, kind))

    async def _send(self, count: int, size: int, kind: str) -> None:
        for _ in range(count):
            self.number += 1
            message = str(self.number).ljust(size).encode()
            before = self.server.backlog(self.peer.addr)
            if kind == "all":
                taken = self.server.send_all_clients("n", message)
                self.for_all.append(self.number)
            else:
                volatile = kind == "volatile"
                self.server.send_client(self.peer.addr, "n", message, volatile=volatile)
            refused = self._refused(before, volatile=kind == "volatile")
            if kind == "all":
                assert taken == 2 - refused
            if not refused:
                self.wanted.append(self.number)
        await self._settle()

    @rule(key=st.sampled_from("abcdef"), count=st.integers(1, 5), size=SIZES)
    def send_latest(self, key: str, count: int, size: int) -> None:
        self.run(self._send_latest(key, count, size))

    @BEHIND
    @rule(keys=st.integers(2, 6))
    def send_states(self, keys: int) -> None:
        """States that fill its backlog, and replace those that wait already."""
        for key in "abcdef"[:keys]:
            self.run(self._send_latest(key, 1, LONGEST))

    async def _send_latest(self, key: str, count: int, size: int) -> None:
        waiting = self._waiting(key)
        for _ in range(count):
            self.number += 1
            message = str(self.number).ljust(size).encode()
            before = self.server.backlog(self.peer.addr)
            self.server.send_client(self.peer.addr, key, message, latest=key)
            known = waiting and key in (self.peer.connection.writer.latest or ())
            if self.server.stats().dropped == self.dropped:
                assert known or self.refusing is not True
                self.newest[key] = self.number
                waiting = True
            else:
                assert not waiting, "a state that waits is always replaced"
                assert self._refused(before)
        await self._settle()

    def _waiting(self, key: str) -> bool:
        """Whether a state of that key waits to be written."""
        return key in (self.peer.connection.writer.latest or ())

    def _refused(self, backlog: int, volatile: bool = False) -> bool:
        """Whether the last message was refused, which must be right; count it."""
        refused = self.server.stats().dropped - self.dropped
        assert refused in (0, 1)
        self.dropped += refused
        if volatile:
            behind = self.refusing is True or backlog > SEND_BUFFER + HIGH_WATER
            assert refused or not behind
            assert not (refused and self.reading)
            return bool(refused)
        if refused:
            assert self.refusing is not False or backlog > SEND_BUFFER
            assert not self.reading
            self.refusing = True
        else:
            assert self.refusing is not True, "it is refused more until it has caught up"
            self.refusing = False
        return bool(refused)

    @rule(count=st.sampled_from([1, 3, 300, 2000]))
    def ask(self, count: int) -> None:
        """The client asks, reading or not, and is answered in any case."""
        if not self.refusing:
            count = min(count, 3 if self.refusing is None else 300)
        self.run(self._ask(count))

    async def _ask(self, count: int) -> None:
        for _ in range(count):
            self.peer.raw(b"$GETCLT$lively")
        self.wanted += ["answer"] * count
        size = count * (len(self.client_answer[1] or b"") + 16)
        if self.refusing is not False:
            self.held += size
            self.surely_held += size if self.refusing else 0
        await self._settle()

    @precondition(lambda self: len(self.calls) < 10)
    @rule()
    def call(self) -> None:
        self.run(self._call())

    async def _call(self) -> None:
        calling = self.server.call(self.peer.addr, "ping", timeout=None)
        self.calls.append(asyncio.ensure_future(calling))
        self.wanted.append("call")
        self.held += 100  # at most
        await self._settle()

    @BEHIND
    @rule()
    def sip(self) -> None:
        """Read once what has arrived, and no more."""
        self.run(self._sip())

    async def _sip(self) -> None:
        self.sipped = True
        if self.refusing:
            self.refusing, self.surely_held = None, 0
        self.peer.transport.resume_reading()
        await asyncio.sleep(0)
        self.peer.transport.pause_reading()
        await self._settle()

    @BEHIND
    @rule()
    def read_again(self) -> None:
        self.run(self._read_again())

    async def _read_again(self) -> None:
        """It catches up: all that was not refused is there, and what is sent now arrives."""
        self.reading, self.sipped = True, True
        self.peer.transport.resume_reading()
        await self._settle()

    # -- what must be so

    async def _settle(self) -> None:
        await self._turns()
        numbers = [int(message or b"") for message in self.lively.named("n")]
        assert numbers == self.for_all, "another client loses nothing"
        stats = self.server.stats()
        assert stats.dropped == self.dropped
        if self.peer.connection.ended:
            self.ends += 1
            await self._check_end()
            await self._connect()
        elif self.reading:
            self._check_caught_up()
        else:
            self._check_behind()
        assert self.server.stats().ended == ({"slow": self.ends} if self.ends else {})
        assert len(self.server) == 2

    async def _check_end(self) -> None:
        """It ended because of the policy, or of answers that it did not read."""
        told = self.on_slow == "disconnect" or (self.asked and self.asked[-1][1] == "disconnect")
        assert told or self.held > SEND_BUFFER
        self.peer.transport.resume_reading()
        await self._turns()
        assert self.peer.ended
        got = self._received()
        assert got == self.wanted[: len(got)]
        for calling in self.calls:
            assert calling.done()
            assert calling.exception() is not None or calling.result() == b"pong"

    def _check_behind(self) -> None:
        backlog = self.server.backlog(self.peer.addr)
        if self.on_slow == "function":
            last, answer = self.asked[-1] if self.asked else (0, None)
            assert answer != "disconnect"
            if answer is None:
                assert backlog <= last + SEND_BUFFER, "it was not asked"
                self.refusing = False
            elif backlog > SEND_BUFFER and not self.sipped:
                self.refusing = True
            elif self.sipped and self.refusing is False and backlog > SEND_BUFFER:
                self.refusing = None
        elif backlog > SEND_BUFFER:
            assert self.on_slow == "drop", "it was to be disconnected"
            self.refusing = True
        if self.on_slow != "function":
            assert backlog <= SEND_BUFFER + HIGH_WATER + LONGEST + 100 + min(self.held, SEND_BUFFER)
        assert self.surely_held <= SEND_BUFFER, "it asks without end and reads no answers"
        got = self._received()
        assert got == self.wanted[: len(got)]

    def _check_caught_up(self) -> None:
        assert self._received() == self.wanted
        for key, number in self.newest.items():
            states = [int(message or b"") for message in self.peer.named(key)]
            assert states == sorted(set(states))
            assert states[-1] == number, "the newest state that was not refused"
        assert self.server.backlog(self.peer.addr) == 0
        assert all(calling.result() == b"pong" for calling in self.calls)
        self.calls.clear()
        self.asked.clear()
        self.held = self.surely_held = 0
        self.refusing = self.sipped = False

    def _received(self) -> list[Any]:
        """All but newest states, in the words of ``wanted``."""
        got: list[Any] = []
        for frame in self.peer.frames:
            command, message = frame
            if frame == self.client_answer:
                got.append("answer")
            elif command == "n":
                got.append(int(message or b""))
            elif command is None:
                assert message is not None
                assert message.startswith(b"$CALL$"), message
                got.append("call")
        return got

    def teardown(self) -> None:
        if not hasattr(self, "lively"):
            return
        try:
            self.read_again()
            self.send(1, 10, "client")
        finally:
            self.run(self._stop())
            self.loop.close()

    async def _stop(self) -> None:
        await self.server.__aexit__(None, None, None)


# The same examples each time, so that a change which breaks nothing fails nobody's run;
# `make model-slow` chooses them anew.
SlowClient.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=25,
    deadline=None,
    derandomize=os.environ.get("HISOCK_MODEL") != "random",
    database=None,
    # soak.faults asks only whether it fails, and not for the shortest way to that.
    phases=(Phase.generate,) if os.environ.get("HISOCK_MODEL") == "fails" else tuple(Phase),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestSlowClient = SlowClient.TestCase


def test_answers_are_kept_when_the_policy_refuses_again_while_they_are_queued() -> None:
    client = SlowClient()
    client.start(policy="function")
    client.ask(count=1)
    client.change_its_mind(answer=None)
    for count in (7, 7):
        client.fall_behind(count=count)
        client.ask(count=1)
    client.ask(count=1)
    client.stop_reading()
    client.sip()
    client.stop_reading()
    client.sip()
    client.fall_behind(count=7)
    client.change_its_mind(answer="drop")
    client.fall_behind(count=7)
    client.sip()
    client.stop_reading()
    client.ask(count=2000)
    for count in (9, 20, 7):
        client.fall_behind(count=count)
    client.send_latest(count=2, key="c", size=20_000)
    client.fall_behind(count=20)
    client.teardown()
