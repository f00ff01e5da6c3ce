"""``python -m soak.cluster``: servers of a cluster, and brokers, are killed, stopped and restarted.

Real processes and real brokers. A guarantee that is broken is printed, and the exit status is 1: a
message that came twice, out of order, late after an outage, or that is missing and not counted; a
name that two clients have; lists of clients that differ. How long things took is only reported,
beside what is expected on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import logging
import os
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

import hisock
from soak.cluster_crew import Crew, Ear, Member, until


class Report:
    """The rows of one kind of link, and what is broken."""

    def __init__(self, kind: str) -> None:
        self.broken: list[str] = []
        self.kind = kind

    def row(self, what: str, measured: str, expected: str = "") -> None:
        print(f"| {self.kind} | {what} | {measured} | {expected} |", flush=True)

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken.append(f"{self.kind}: {what}")
            print(f"BROKEN: {self.kind}: {what}", flush=True)


def quantiles(ages: list[float]) -> str:
    if not ages:
        return "nothing came"
    cuts = statistics.quantiles(ages, n=100) if len(ages) > 1 else ages * 99
    return f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.0f} ms, worst {max(ages):.0f} ms"


def in_order(report: Report, crew: Crew) -> None:
    """Nothing came twice or out of order, to anybody from anybody."""
    for one in crew.members:
        for sender in one.ear.heard:
            numbers = one.ear.numbers(sender)
            bad = sum(b <= a for a, b in itertools.pairwise(numbers))
            report.check(not bad, f"{bad} messages of a server came twice or out of order")


async def stopped(report: Report, kind: str, short: bool) -> None:
    """One of three servers is stopped; the others must not notice."""
    async with Crew(kind) as crew:
        a, b, c = await crew.add(3)
        await a.ask("send", rate=400, size=16_000)
        await asyncio.sleep(1)
        before = b.ear.ages(a.node)
        c.stop()
        since = time.monotonic_ns()
        await asyncio.sleep(2 if short else 4.5)
        during = b.ear.ages(a.node, since)
        c.go_on()
        back = await crew.agree()
        await crew.all_quiet()
        limit = "p99 100 ms" if kind == "local" else "p99 500 ms"
        report.row("6.4 MB/s, all run", quantiles(before))
        report.row("the same, one of three stopped", quantiles(during), limit)
        report.row("all agree again after it goes on", f"{back:.2f} s")
        in_order(report, crew)
        missing = (await a.ask("figures"))["sent"] - len(b.ear.numbers(a.node))
        report.check(missing == 0, f"{missing} messages between servers that ran are missing")


async def killed(report: Report, kind: str, short: bool) -> None:
    """A server with many clients is killed."""
    async with Crew(kind) as crew:
        a, b, c = await crew.add(3)
        many = 200 if short else 1000
        for number in range(many - 1):
            await c.connect(f"client {number}")
        await crew.agree()
        at = time.monotonic_ns()
        c.kill()
        await until("both know that it is gone", lambda: _know_gone([a, b], c))
        delays = []
        for one in (a, b):
            figures = await one.ask("figures")
            ((node, count, when),) = figures["left"]
            report.check(node == c.node and count == many, f"{count} clients left, not {many}")
            delays.append((when - at) / 1e9)
        limit = "0.25 s" if kind == "local" else "1.5 s"
        report.row(f"killed with {many} clients, right everywhere", f"{max(delays):.3f} s", limit)
        await crew.agree()


async def _know_gone(members: list[Member], gone: Member) -> bool:
    figures = [await one.ask("figures") for one in members]
    return all(any(left[0] == gone.node for left in one["left"]) for one in figures)


async def broker_restarted(report: Report, kind: str, short: bool) -> None:
    """The broker is killed and started again a second later, under load."""
    async with Crew(kind) as crew:
        if crew.broker is None:
            return
        a, b, _ = await crew.add(3)
        await crew.all_send(200, 64)
        for _ in range(1 if short else 3):
            crew.broker.kill()
            await asyncio.sleep(0.5)
            gone, come = b.ear, await a.connect("came meanwhile")
            gone.transport.close()
            b.ear = await b.connect("another ear")
            await asyncio.sleep(0.5)
            since = time.monotonic_ns()
            await asyncio.to_thread(crew.broker.start)
            there = time.monotonic_ns()
            first = await _first_heard(b.ear, a.node, since)
            agreed = await crew.agree()
            report.row("broker back: messages again", f"{(first - there) / 1e9:.3f} s", "0.5 s")
            report.row("broker back: equal lists of clients", f"{agreed:.2f} s", "2 s")
            heard = [row for one in crew.members for rows in one.ear.heard.values() for row in rows]
            # What one of its own server's clients sends does not go through the broker.
            late = sum(now >= since > sent and now - sent > 3e8 for _, sent, now in heard)
            report.check(late == 0, f"{late} messages from before the outage came after it")
            come.transport.close()
            await crew.agree()
        await crew.all_quiet()
        in_order(report, crew)


async def _first_heard(ear: Ear, node: str, since: int) -> int:
    """When the first message of a server came since then."""
    await until("messages come", lambda: bool(ear.ages(node, since)))
    return next(now for _, _, now in ear.heard[node] if now >= since)


async def names(report: Report, kind: str, short: bool) -> None:
    """Clients on all servers want the same names, while servers are killed."""
    async with Crew(kind, "unique") as crew:
        await crew.add(3)
        rounds = 2 if short else 20
        most = 0.0
        for number in range(rounds):
            texts = [f"{number}.{n}" for n in range(5)]
            contest = Contest(report, crew, texts)
            await until("every name has a holder", contest.all_held)
            random.choice(crew.alive).kill()
            # Those that the dead server's clients had are asked for until they are free.
            most = max(most, await until("every name has a holder again", contest.all_held))
            await contest.end()
            await crew.add()
        report.row(
            f"names contested, with a kill, {rounds} rounds", "never two holders", "the same"
        )
        report.row("the longest until a dead server's names were taken", f"{most:.2f} s")


class Contest:
    """Clients on all servers that ask for the same names."""

    def __init__(self, report: Report, crew: Crew, texts: list[str]) -> None:
        self._report = report
        self._crew = crew
        self._texts = texts
        self._clients: list[hisock.AsyncHiSockClient] = []

    async def all_held(self) -> bool:
        """Ask for each name from each server, all at once; returns whether each has a holder."""
        members = self._crew.alive
        attempts = [self._join(one, text) for text in self._texts for one in members]
        await asyncio.gather(*attempts)
        lists = [(await one.ask("clients"))["own"] for one in members]
        holders = [sum(own.count(text) for own in lists) for text in self._texts]
        self._report.check(max(holders) <= 1, f"{max(holders)} clients have the same name")
        return all(holders)

    async def _join(self, member: Member, name: str) -> None:
        with contextlib.suppress(hisock.ConnectionRejected, hisock.ConnectionLost, OSError):
            client = await hisock.async_connect(("127.0.0.1", member.port), name, timeout=10)
            self._clients.append(client)
            with contextlib.suppress(hisock.RemoteError):
                await client.call("nothing", timeout=10)  # answered once it has joined

    async def end(self) -> None:
        for client in self._clients:
            await client.close()


class Accounts:
    """What was sent to each server, what its client heard, and what is counted as lost."""

    def __init__(self, report: Report, crew: Crew) -> None:
        self._report = report
        self._crew = crew

    async def settle(self) -> None:
        """Compare for all servers that live; those that were killed took their counts along."""
        living = self._crew.alive
        figures = {one.node: await one.ask("figures") for one in living}
        lost = sum(one["lost"] for one in figures.values())
        sent = missing = 0
        for one in living:
            gone = 0
            for sender in living:
                if sender is not one:
                    theirs = figures[sender.node]
                    addressed = _addressed(theirs["addressed"], theirs["sent"], one.node)
                    sent += len(addressed)
                    gone += len(addressed - set(one.ear.numbers(sender.node)))
            counted = figures[one.node]["missed"] + lost
            self._report.check(gone <= counted, f"{gone} messages are missing, {counted} counted")
            missing += gone
        missed = sum(one["missed"] for one in figures.values())
        self._report.check(missing <= lost + missed, f"{missing} are missing in all")
        text = f"{sent} sent to others, {missing} missing, {lost} + {missed} counted"
        self._report.row("kills, stops, restarts: messages", text, "missing is counted")
        in_order(self._report, self._crew)


def _addressed(marks: list[tuple[int, list[str]]], sent: int, node: str) -> set[int]:
    """The numbers that were sent while a server was known to have clients."""
    ends = [start for start, _ in marks[1:]] + [sent + 1]
    return {
        number
        for (start, nodes), end in zip(marks, ends, strict=True)
        if node in nodes
        for number in range(start, end)
    }


async def disturbed(report: Report, kind: str, short: bool) -> None:
    """Servers are killed, stopped, and the broker is restarted, while all send numbers."""
    async with Crew(kind) as crew:
        await crew.add(3 if short else 4)
        await crew.all_send(200, 256)
        steps = ["stop", "kill", "restart"] if short else ["stop", "kill", "restart", "hang"] * 4
        for step in steps:
            await asyncio.sleep(0.3)
            victim = random.choice(crew.alive)
            if step == "kill":
                victim.kill()
                (new,) = await crew.add()
                await new.ask("send", rate=200, size=256)
            elif step == "restart" and crew.broker is not None:
                crew.broker.kill()
                await asyncio.sleep(0.5)
                await asyncio.to_thread(crew.broker.start)
            elif step in ("stop", "hang"):
                victim.stop()
                # A server that hangs for longer than five seconds is given up.
                await asyncio.sleep(6.5 if step == "hang" else 1)
                victim.go_on()
            await crew.agree()
        await crew.all_quiet()
        await Accounts(report, crew).settle()


Trial = Callable[[Report, str, bool], Awaitable[None]]
TRIALS: Final[dict[str, Trial]] = {
    "stopped": stopped,
    "killed": killed,
    "broker": broker_restarted,
    "names": names,
    "disturbed": disturbed,
}
#: Those that are about more than times.
SHORT: Final = ("broker", "names", "disturbed")
LINKS: Final = ("local", "nats", "nats-newest", "redis", "valkey")
SHORT_LINKS: Final = ("local", "nats-newest", "redis")


async def run(kind: str, trials: list[str], short: bool) -> list[str]:
    """Try one kind of link; returns what is broken."""
    report = Report(kind)
    for name in trials:
        try:
            await TRIALS[name](report, kind, short)
        except (AssertionError, RuntimeError, OSError) as exc:
            report.check(False, f"{name}: {exc or type(exc).__name__}")
    return report.broken


async def run_all(kinds: list[str], trials: list[str], short: bool) -> list[str]:
    """One kind of link after the other; all at once where nobody looks at the times."""
    print("| link | what | measured | expected |\n|---|---|---|---|")
    if short:
        found = await asyncio.gather(*(run(kind, trials, short) for kind in kinds))
    else:
        found = [await run(kind, trials, short) for kind in kinds]
    return [what for broken in found for what in broken]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m soak.cluster", description=__doc__)
    parser.add_argument("--links", help=f"of {', '.join(LINKS)}; with --short a part of them")
    parser.add_argument("--trials", help=f"of {', '.join(TRIALS)}")
    parser.add_argument("--short", action="store_true", help="for CI: less, and all at once")
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    random.seed(seed)
    print(f"seed {seed}, load {os.getloadavg()[0]:.1f}\n", flush=True)
    logging.getLogger("hisock").setLevel(logging.CRITICAL)  # that names are taken is expected
    trials = given.trials.split(",") if given.trials else list(SHORT if given.short else TRIALS)
    kinds = list(SHORT_LINKS if given.short else LINKS)
    if given.links:
        kinds = given.links.split(",")
    broken = asyncio.run(run_all(kinds, trials, given.short))
    print(f"\n{len(broken)} guarantees broken")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
