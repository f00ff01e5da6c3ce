"""``python -m soak --seconds 600``: churn, calls, broadcasts, renames and kills; nothing may leak.

Fifty clients a second join one server, talk and leave, or break off, or are killed with SIGKILL,
while a dozen stay and are told of all of it. Everything has a sequence number. At the end it says
what happened, and exits with status 1 if a message is unaccounted for, if memory grew, or if a
descriptor or a thread is left.
"""

from __future__ import annotations

import argparse
import platform
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from soak.children import Child
from soak.clients import STEADY
from soak.watching import Sample

#: Joins a second, of which so many are by processes that are killed.
JOINS = 50
KILLED = 5
#: Seconds between two kills; each takes all the clients of one process with it.
KILL_EVERY = 2.0
#: How much memory may grow after the warm-up.
GROWTH = 0.05
#: Seconds in which all that is gone has to be gone.
PATIENCE = 30.0


class Soak:
    """One run."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.samples: list[Sample] = []
        self.problems: list[str] = []
        self.killed = 0

    def run(self) -> None:
        with Child("soak.server") as server:
            port = str(server.answer()["port"])
            self._knock(port)
            before = self._settled(server, 0)
            with Child("soak.clients", port, "--rate", str(JOINS - KILLED)) as clients:
                clients.answer()
                quiet = self._settled(server, STEADY)
                clients.tell("begin")
                self._churn(server, port)
                clients.tell("end")
                clients.answer()
                after = self._settled(server, STEADY, quiet)
                self.books = server.ask()
                self.told = clients.ask()
                self._account_for_messages(server)
            end = self._settled(server, 0, before)
            server.tell("end")
            if server.wait(PATIENCE):
                self.problems.append("the server did not end well")
        self._compare("with those that stay", quiet, after)
        self._compare("without clients", before, end)
        self._judge_memory()

    def _knock(self, port: str) -> None:
        """Have the loop set up what it keeps from its first connection on: libuv, a descriptor."""
        with socket.create_connection(("127.0.0.1", int(port)), PATIENCE) as sock:
            sock.sendall(b"no header")
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(64):
                pass

    # -- while it runs

    def _churn(self, server: Child, port: str) -> None:
        began = time.monotonic()
        next_sample, next_kill = 0.0, 0.0
        victims: list[subprocess.Popen[bytes]] = []
        try:
            while (now := time.monotonic() - began) < self.seconds:
                if now >= next_sample:
                    self.samples.append(Sample.of(server.pid, now))
                    next_sample += 1.0
                if now >= next_kill:
                    for victim in victims:
                        victim.kill()
                        victim.wait()
                        self.killed += int(KILLED * KILL_EVERY)
                    victims = [self._victim(port)]
                    next_kill += KILL_EVERY
                time.sleep(0.05)
        finally:
            for victim in victims:
                victim.kill()
                victim.wait()
        self.killed += int(KILLED * KILL_EVERY) * len(victims)

    def _victim(self, port: str) -> subprocess.Popen[bytes]:
        program = str(Path(__file__).with_name("victims.py"))
        count = str(int(KILLED * KILL_EVERY))
        return subprocess.Popen([sys.executable, "-S", "-E", program, port, count])

    def _settled(self, server: Child, clients: int, like: Sample | None = None) -> Sample:
        """The server once it has just that many clients, and nothing left of any other.

        :param like: wait until it has no more threads than then; those of handlers end when there
            was nothing to do for ten seconds.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            stats = server.ask()["stats"]
            sample = Sample.of(server.pid, 0.0)
            settled = stats["connections"] == stats["clients"] == clients
            if settled and (like is None or sample.threads <= like.threads):
                return sample
            if time.monotonic() > deadline:
                if not settled:
                    self.problems.append(
                        f"{stats['connections']} connections of {stats['clients']} clients are "
                        f"left, expected {clients}"
                    )
                return sample
            time.sleep(0.2)

    # -- afterwards

    def _account_for_messages(self, server: Child) -> None:
        now = server.ask()
        self.problems += [f"server: {text}" for text in self.books["violations"]]
        self.problems += [f"clients: {text}" for text in self.told["violations"]]
        if self.books["stats"]["handler_errors"]:
            self.problems.append(f"{self.books['stats']['handler_errors']} errors of handlers")
        if self.books["stats"]["dropped"]:
            self.problems.append(f"{self.books['stats']['dropped']} messages were dropped")
        for told in self.told["steady"]:
            for what in ("joins", "leaves"):
                if told[what] != self.books[what]:
                    self.problems.append(
                        f"one that stayed was told of {told[what]} {what}, "
                        f"the server counts {self.books[what]}"
                    )
            if not self.books["news"] <= told["news"] <= now["news"]:
                self.problems.append(
                    f"one that stayed has news {told['news']}, the server sent "
                    f"{self.books['news']} to {now['news']}"
                )

    def _compare(self, when: str, before: Sample, after: Sample) -> None:
        for what in ("descriptors", "threads"):
            one, other = getattr(before, what), getattr(after, what)
            if other > one:
                self.problems.append(f"{what} {when}: {one} before, {other} afterwards")

    def _judge_memory(self) -> None:
        # What is needed once is needed by then; what leaks goes on.
        warm = [sample for sample in self.samples if sample.seconds >= self._warm_up()]
        third = max(1, len(warm) // 3)
        self.early = statistics.median(sample.memory for sample in warm[:third])
        self.late = statistics.median(sample.memory for sample in warm[-third:])
        if self.late > self.early * (1 + GROWTH):
            self.problems.append(
                f"memory grew by {self.late / self.early - 1:.1%} after the warm-up"
            )

    def _warm_up(self) -> float:
        return min(60.0, self.seconds * 0.4)

    def report(self) -> str:
        books, did = self.books, self.told["did"]
        stats = books["stats"]
        polite = did.get("polite lives", 0)
        first, last = self.samples[0], self.samples[-1]
        busy = (last.cpu - first.cpu) / max(last.seconds - first.seconds, 1)
        lines = [
            f"Python {platform.python_version()} on {platform.system()}, {self.seconds:.0f} s",
            f"{books['joins']:,} clients joined ({books['joins'] / self.seconds:.1f} a second): "
            f"{polite:,} left politely, {self.killed:,} were killed, the others broke off",
            f"ended: {', '.join(f'{n:,} {kind}' for kind, n in sorted(stats['ended'].items()))}",
            f"{books['said']:,} numbered messages came, {did.get('news', 0):,} of "
            f"{books['news']:,} broadcasts arrived, all in order and none missing",
            f"{did.get('accounted for', 0):,} messages of those that left were confirmed to them",
            f"{books['calls']:,} calls by clients, {books['asked_back']:,} by the server, "
            f"{books['worked']:,} in threads; {books['renames']:,} renames, "
            f"{books['moves']:,} changes of group",
            f"frames: {stats['messages_in']:,} in, {stats['messages_out']:,} out",
            f"memory of the server: {self.early / 2**20:.1f} MiB after {self._warm_up():.0f} s, "
            f"{self.late / 2**20:.1f} MiB at the end ({self.late / self.early - 1:+.1%})",
            f"most descriptors {max(s.descriptors for s in self.samples)}, "
            f"most threads {max(s.threads for s in self.samples)}, none of them left",
            f"processor: {busy:.0%} of one core",
        ]
        if self.problems:
            lines = [line for line in lines if "none" not in line]
            lines += [f"PROBLEM: {problem}" for problem in self.problems]
        return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    soak = Soak(parser.parse_args().seconds)
    if sys.platform != "linux":
        sys.exit("this watches processes in /proc, which only Linux has")
    soak.run()
    print(soak.report())
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
