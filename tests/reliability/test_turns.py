"""What one read may start at once, and what an async client may have under way."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from support import Peer, command_frame, frame
from support.memory import MemoryPeer, settle
from support.polling import until

import hisock
from hisock._framing_common import FIRST_READ, MANY, SHORT_READ
from hisock._runtime import turns
from hisock._runtime.turns import MOST_FRAMES, MOST_SECONDS, Queue, Turns
from hisock._server.connection import Connection

ADDR = ("127.0.0.1", 0)
#: What fits into one read.
FRAMES = 2000


class Turning:
    """Counts the iterations of the loop that runs."""

    def __init__(self) -> None:
        self.turn = 0
        self._done = False
        self._task = asyncio.ensure_future(self._count())

    async def _count(self) -> None:
        while not self._done:
            self.turn += 1
            await asyncio.sleep(0)

    async def end(self) -> None:
        self._done = True
        await self._task


def task_frame(number: int) -> bytes:
    return command_frame("task", b"%d" % number)


def plain_frame(number: int) -> bytes:
    """A call of a plain handler, which is answered at once: many of these are not much."""
    return frame(b"$CALL$%d$CMD$plain$MSG$%d" % (number, number))


def call_frame(number: int) -> bytes:
    return frame(b"$CALL$%d$CMD$task$MSG$%d" % (number, number))


@pytest.mark.parametrize("make", [task_frame, call_frame])
@pytest.mark.parametrize("admitted", [True, False])
def test_what_frames_of_one_read_cost_is_spread_over_iterations(
    make: Callable[[int], bytes], admitted: bool
) -> None:
    async def play() -> None:
        seen: list[tuple[int, int]] = []
        turning = Turning()
        every, go_on = asyncio.Event(), asyncio.Event()
        async with hisock.HiSockServer(ADDR) as server:

            @server.authenticate
            async def authenticate(name: str | None) -> None:
                if not admitted:
                    await go_on.wait()

            def note(number: int) -> None:
                seen.append((turning.turn, number))
                if len(seen) == FRAMES:
                    every.set()

            @server.on("task", concurrent=True)
            async def task(client: hisock.ClientInfo, number: int) -> None:
                note(number)

            with Peer(server.addr) as peer:
                peer.reserved("CLTHELLO", json.dumps({"name": "x", "features": ["call"]}))
                if admitted:
                    await until(lambda: len(server) == 1)
                peer.write(b"".join(make(number) for number in range(FRAMES)))
                if not admitted:
                    await until(lambda: server.stats().memory["admission"] > 64 * 100)
                go_on.set()
                await asyncio.wait_for(every.wait(), 30)
        await turning.end()
        assert [number for _, number in seen] == list(range(FRAMES))
        most = max(Counter(turn for turn, _ in seen).values())
        assert most <= 2 * MOST_FRAMES, "an iteration here may fall between two of the server's"

    asyncio.run(play())


def test_a_read_of_many_frames_is_spread_once_an_iteration_has_taken_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "MOST_SECONDS", 0.0)

    async def play() -> None:
        seen: list[tuple[int, bytes]] = []
        turning = Turning()
        every = asyncio.Event()
        async with hisock.HiSockServer(ADDR, announce="none") as server:

            @server.on("say")
            def say(client: hisock.ClientInfo, message: bytes) -> None:
                seen.append((turning.turn, message))
                if len(seen) == FRAMES:
                    every.set()

            peer = MemoryPeer(server)
            other = MemoryPeer(server).connection
            await settle()
            room = set()
            take = Connection.buffer_updated

            def buffer_updated(self: Connection, nbytes: int) -> None:
                take(self, nbytes)
                room.add(len(memoryview(other.get_buffer(-1))))

            monkeypatch.setattr(Connection, "buffer_updated", buffer_updated)
            before = len(memoryview(other.get_buffer(-1)))
            peer.transport.write(b"".join(command_frame("say", b"%d" % n) for n in range(FRAMES)))
            await asyncio.wait_for(every.wait(), 30)
            assert SHORT_READ in room, "of the others less is read in that iteration"
            await settle()
            assert len(memoryview(other.get_buffer(-1))) == before > SHORT_READ
        await turning.end()
        assert [message for _, message in seen] == [b"%d" % number for number in range(FRAMES)]
        # An iteration here may fall between two of the server's.
        assert max(Counter(turn for turn, _ in seen).values()) <= 2 * MANY

    asyncio.run(play())


@pytest.mark.parametrize("websocket", [None, hisock.WebSocket()])
@pytest.mark.parametrize("at_once", [True, False])
def test_what_comes_before_a_client_is_admitted_stays_in_the_kernel(
    websocket: hisock.WebSocket | None, at_once: bool
) -> None:
    async def play() -> None:
        go_on, every = asyncio.Event(), asyncio.Event()
        seen: list[int] = []
        async with hisock.HiSockServer(ADDR, websocket=websocket) as server:

            @server.authenticate
            async def authenticate(name: str | None) -> None:
                await go_on.wait()

            @server.on("say")
            def say(client: hisock.ClientInfo, number: int) -> None:
                seen.append(number)
                if len(seen) == FRAMES:
                    every.set()

            with Peer(server.addr) as peer:
                flood = b"".join(command_frame("say", b"%d" % number) for number in range(FRAMES))
                hello = frame(b'$CLTHELLO${"name": "x", "group": null}')
                if at_once:
                    peer.write(hello + flood)
                else:
                    peer.write(hello)
                    await until(lambda: any(each.busy for each in server._hub.connections))
                    peer.write(flood)
                await until(lambda: any(each.paused for each in server._hub.connections))
                (connection,) = server._hub.connections
                assert len(connection.inbox) <= FIRST_READ // 16
                go_on.set()
                await asyncio.wait_for(every.wait(), 30)
        assert seen == list(range(FRAMES))

    asyncio.run(play())


@pytest.mark.parametrize("ending", ["stays", "leaves", "sends garbage"])
def test_frames_put_aside_are_handled_in_order_around_a_handler_that_waits_for_one(
    monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """As if they had been read later: the reply overtakes what its handler holds up."""
    monkeypatch.setattr(turns, "MOST_SECONDS", 0.0)

    async def play() -> None:
        seen: list[bytes] = []
        over = asyncio.Event()
        async with hisock.HiSockServer(ADDR, announce="none") as server:

            @server.on("say")
            def say(client: hisock.ClientInfo, message: bytes) -> None:
                seen.append(message)

            @server.on("ask")
            async def ask(client: hisock.ClientInfo) -> None:
                seen.append(await server.call(client, "question", timeout=30) or b"")

            @server.on("last")
            def last(client: hisock.ClientInfo) -> None:
                over.set()

            peer = MemoryPeer(server, features=["call"])
            await settle()
            some = [command_frame("say", b"%d" % number) for number in range(2 * MANY)]
            reply = frame(b"$REPLY$1$MSG$answered")
            peer.transport.write(
                b"".join([*some, command_frame("ask"), *some, reply, *some, command_frame("last")])
            )
            if ending == "sends garbage":
                peer.transport.write(b"garbage" * 10)
            elif ending == "leaves":
                peer.transport.close()
            await asyncio.wait_for(over.wait(), 30)
            await settle()
            assert server.stats().memory["deferred"] == 0
            if ending == "stays":
                assert len(server) == 1
            else:
                kind = "framing" if ending == "sends garbage" else "reset"
                assert server.stats().ended == {kind: 1}
        numbers = [b"%d" % number for number in range(2 * MANY)]
        if ending == "leaves":
            seen = [message for message in seen if message != b""]
            assert seen in ([*numbers, b"answered", *numbers, *numbers], 3 * numbers)
        else:
            assert seen == [*numbers, b"answered", *numbers, *numbers]

    asyncio.run(play())


def test_frames_of_all_clients_together_are_bounded_in_one_iteration() -> None:
    class Client:
        def __init__(self) -> None:
            self.busy = self.left = 0

        def begin(self) -> None:
            self.busy += 1

        def idle(self) -> None:
            self.busy -= 1
            self.handle()

        def handle(self) -> None:
            while self.left and not self.busy:
                self.left -= 1
                spread.count(self)

    due: list[Callable[[], None]] = []
    spread = turns.Turns(due.append)
    clients = [Client() for _ in range(50)]
    left = 50 * 100
    most = turns.MOST_OF_ALL + len(clients)
    for client in clients:
        client.left = 100
        client.handle()
    while left:
        before, left = left, sum(client.left for client in clients)
        assert 0 < before - left <= most
        turn, due[:] = list(due), []
        for func in turn:
            func()
    assert not any(client.busy for client in clients)


def test_parts_of_all_replies_take_turns() -> None:
    async def play() -> None:
        queue, turning = Queue(most=3), Turning()
        seen: list[int] = []

        async def send() -> None:
            for _ in range(4):
                await queue.wait()
                seen.append(turning.turn)

        tasks = [asyncio.ensure_future(send()) for _ in range(10)]
        tasks[4].cancel()
        await asyncio.wait(tasks)
        await turning.end()
        assert len(seen) == 9 * 4
        assert max(Counter(seen).values()) <= 2 * 3, "an iteration here may be two of the queue's"

    asyncio.run(play())


def test_a_lost_connection_that_was_replaced_counts_no_longer() -> None:
    """It did, until its handler had ended: one client could take all the places of others."""

    async def play() -> None:
        begun, never = asyncio.Event(), asyncio.Event()
        async with hisock.HiSockServer(ADDR, announce="none") as server:

            @server.on("stay")
            async def stay(client: hisock.ClientInfo) -> None:
                begun.set()
                await never.wait()

            def joined(count: int) -> bool:
                return server.stats().joins == count

            hello = json.dumps({"name": "Ada", "features": ["ack"], "resume": "secret"})
            for number in range(1, 6):
                with Peer(server.addr) as peer:
                    peer.reserved("CLTHELLO", hello)
                    peer.reserved("SEND", f"{number}$CMD$stay")
                    await asyncio.wait_for(begun.wait(), 30)
                    await until(partial(joined, number))
            with Peer(server.addr) as peer:
                peer.reserved("CLTHELLO", hello)
                await until(partial(joined, 6))
                await until(lambda: server.stats().connections == 1)

    asyncio.run(play())


class HeldUp:
    """A client that counts why it is held up."""

    def __init__(self) -> None:
        self.held_up = 0

    def begin(self) -> None:
        self.held_up += 1

    def idle(self) -> None:
        self.held_up -= 1


def test_frames_that_cost_much_wait_once_an_iteration_has_taken_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """512 streams were begun in one iteration, which took 100 ms and more."""
    now = 0.0
    monkeypatch.setattr(turns, "perf_counter", lambda: now)
    posted: list[Callable[[], None]] = []
    spread = Turns(posted.append)
    first, second = HeldUp(), HeldUp()
    spread.count(first)
    now += MOST_SECONDS / 2
    spread.count(first)
    assert not first.held_up
    now += MOST_SECONDS
    spread.count(first)
    spread.count(second)
    assert first.held_up == second.held_up == 1
    posted.pop()()
    assert first.held_up == second.held_up == 0
    spread.count(second)
    assert not second.held_up, "it is another iteration"


def test_a_client_has_a_bounded_number_of_concurrent_tasks() -> None:
    async def play() -> None:
        running, most, ended = 0, 0, 0
        go_on, every, full = asyncio.Event(), asyncio.Event(), asyncio.Event()
        async with (
            hisock.HiSockServer(ADDR, send_buffer=64 * 1024 * 1024) as server,
            hisock.async_connect(server.addr, "Ada") as ada,
        ):

            @ada.on("task", concurrent=True)
            async def task() -> None:
                nonlocal running, most, ended
                running += 1
                most = max(most, running)
                if running > 4096:
                    full.set()
                await go_on.wait()
                running -= 1
                ended += 1
                if ended == 5000:
                    every.set()

            for _ in range(5000):
                server.send_client("Ada", "task")
            await asyncio.wait_for(full.wait(), 30)
            for _ in range(200):
                await asyncio.sleep(0)
            assert most == running == 4097
            go_on.set()
            await asyncio.wait_for(every.wait(), 30)
            assert most <= 4097

    asyncio.run(play())
