"""One run: look whether the server answers, connect, send, wait for the last answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from hisock._cli.bench.kinds import NEEDED, KindName, Refused, maker
from hisock._cli.bench.load import (
    DueTimes,
    LoadConnection,
    LoadCounts,
    Target,
    open_connection,
    pace,
)
from hisock._cli.usage import Unusable

#: Seconds that the server has for the first answer, and for the last ones.
PATIENCE = 3.0
#: Connections that are opened at once.
_AT_ONCE = 50


class Plan(NamedTuple):
    """What was asked for.

    :ivar rate: messages a second of all connections together; ``None`` for as many as are answered.
    :ivar depth: without a rate, messages of each connection that wait for answers at once.
    """

    kind: KindName
    command: str
    connections: int
    seconds: float
    size: int
    rate: float | None
    depth: int
    room_size: int


@dataclass
class Outcome:
    """What came of it.

    :ivar seconds: how long messages were sent.
    :ivar unanswered: messages whose answers had not come in the end, unsent ones included.
    """

    plan: Plan
    counts: LoadCounts = field(default_factory=LoadCounts)
    seconds: float = 0.0
    unanswered: int = 0

    @property
    def ok(self) -> bool:
        counts = self.counts
        return counts.answers > 0 and not (counts.errors or counts.lost or self.unanswered)


#: Called every so often with the counts, and the seconds since the beginning.
Watch = Callable[[LoadCounts, float], None]


async def run(target: Target, plan: Plan, watch: Watch, interval: float) -> Outcome:
    """Put load on a server.

    :param interval: seconds between two calls of ``watch``.
    :raises Unusable: the server does not have what it needs.
    :raises hisock._cli.usage.Failed: it does not let the clients in.
    """
    make = maker(plan.kind, plan.command, plan.size, target.header_len)
    await _check(target, plan)
    outcome = Outcome(plan)
    ledger = DueTimes()
    connections: list[LoadConnection] = []
    try:
        for first in range(0, plan.connections, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, plan.connections))
            connections += await asyncio.gather(
                *(
                    open_connection(target, make(), outcome.counts, ledger, _group(plan, number))
                    for number in numbers
                )
            )
        for number, connection in enumerate(connections):
            connection.members = _members(plan, number)
        await _load(connections, plan, outcome, watch, interval)
        await _wait_for_answers(connections, ledger)
    finally:
        for connection in connections:
            connection.close()
    owed = sum(len(connection.owed) for connection in connections)
    outcome.unanswered = len(ledger.due) + owed - outcome.counts.errors
    return outcome


def _group(plan: Plan, number: int) -> str | None:
    return f"hisock-bench-{number // plan.room_size}" if plan.kind == "room" else None


def _members(plan: Plan, number: int) -> int:
    """The clients in the room of one, itself included."""
    if plan.kind != "room":
        return 1
    first = number // plan.room_size * plan.room_size
    return min(plan.room_size, plan.connections - first)


async def _check(target: Target, plan: Plan) -> None:
    """Send one message, and wait for its answer.

    :raises Unusable: none came, and what the server needs.
    """
    make = maker(plan.kind, plan.command, plan.size, target.header_len)
    group = "hisock-bench-check" if plan.kind == "room" else None
    probe = await open_connection(target, make(), LoadCounts(), DueTimes(), group)
    try:
        if plan.kind == "call" and not probe.joined.result():
            raise Unusable("the server does not know calls; measure it with --kind echo")
        probe.send([time.perf_counter()])
        await asyncio.wait_for(asyncio.shield(probe.answered), PATIENCE)
    except Refused as exc:
        raise Unusable(f"the server's handler of {plan.command!r} failed: {exc}") from None
    except asyncio.TimeoutError:
        raise Unusable(
            f"no answer to {plan.command!r} came within {PATIENCE:g} seconds; "
            "--command names another, or the server needs this:",
            NEEDED[plan.kind].format(plan.command),
        ) from None
    finally:
        probe.close()


async def _load(
    connections: list[LoadConnection], plan: Plan, outcome: Outcome, watch: Watch, interval: float
) -> None:
    begun = time.perf_counter()

    def give_up() -> bool:
        late = time.perf_counter() - begun >= plan.seconds + PATIENCE
        return late or not any(connection.open for connection in connections)

    async def keep_watching() -> None:
        while True:
            await asyncio.sleep(interval)
            watch(outcome.counts, time.perf_counter() - begun)

    watching = asyncio.ensure_future(keep_watching())
    try:
        if plan.rate is not None:
            await pace(connections, plan.rate, max(1, int(plan.seconds * plan.rate)), give_up)
        else:
            for connection in connections:
                connection.refill = True
                connection.send([time.perf_counter()] * plan.depth)
            ends = [connection.ended for connection in connections]
            await asyncio.wait(ends, timeout=plan.seconds)
    finally:
        watching.cancel()
        for connection in connections:
            connection.refill = False
    outcome.seconds = time.perf_counter() - begun


async def _wait_for_answers(connections: list[LoadConnection], ledger: DueTimes) -> None:
    deadline = time.perf_counter() + PATIENCE
    while ledger.due and time.perf_counter() < deadline:
        if not any(connection.open for connection in connections):
            return
        await asyncio.sleep(0.01)
