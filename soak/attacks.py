"""``python -m soak.attacks --seconds 120``: a server is attacked in every way that we know.

Each attack is carried out against a server of its own, beside a hundred good clients that talk with
it all the time. Those must lose nothing, the attackers must be gone afterwards, and the memory of
the server must stay within the bound that is documented, and 32 MiB. How long answers took is
reported; ``--p99 50`` makes it a failure where 1 % of them took longer than so many milliseconds,
for machines with nothing else to do. The server has a core of its own; the attackers share the
other one with the good clients, and give way to them. Where it is permitted, server and good
clients go before the other work of the machine. What CPU time a turn of the server's loop took is
reported beside it: that is what everybody had to wait for, also on a busy machine; so are full
garbage collections.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from soak.attacked import HELLO_SECONDS, MAX_BUFFERED, RATE, SEND_BUFFER
from soak.attacking import ATTACKS
from soak.children import Child
from soak.good import CLIENTS

MIB = 1024 * 1024
#: Bytes of received data that may be kept, and what connections do not read: twice, since answers
#: of the protocol's own have a bound of their own. An attack has a hundred connections at most.
BOUND = MAX_BUFFERED + 2 * SEND_BUFFER * 100
#: Beside that: pages that the allocator keeps, and what is being handled.
SLACK = 32 * MIB
#: Seconds in which attackers have to be gone.
PATIENCE = 60.0
#: Attacks that leave behind what takes its time, within its bounds; that is not waited for.
LEAVE_WORK = {
    "renames-to-a-common-name",
    "tiny-frames-of-tasks",
    "commands-without-handlers",
    "tasks-and-leave",
    "threads-and-leave",
    "confirmed-messages-behind-a-handler",
    "long-messages-and-leave",
}


class Attacks:
    """One run.

    :param seconds: of each attack.
    :param most: milliseconds that 99 % of the answers may take; ``None`` for any number.
    """

    def __init__(self, loop: str, seconds: float, most: float | None) -> None:
        self.problems: list[str] = []
        self._loop = loop
        self._seconds = seconds
        self._most = most

    def run(self, name: str) -> None:
        """Carry one attack out."""
        limited = "limited" if name == "rate-by-coming-back" else "unlimited"
        with tempfile.TemporaryFile("w+") as log:
            with Child(
                "soak.attacked", self._loop, limited, stderr=log, own_session=True
            ) as server:
                pin(server.pid, first=True)
                port = str(server.answer()["port"])
                urge(server.pid)
                with Child("soak.good", port, own_session=True) as good:
                    pin(good.pid, first=False)
                    good.answer()
                    urge(good.pid)
                    found = self._attack(name, port, server, good)
                server.tell("end")
                server.wait(PATIENCE)
            log.seek(0)
            lines = log.read().splitlines()
        if any(line.startswith("FORGED") for line in lines):
            found.append("lines of the log are forged")
        self.problems += [f"{name}: {problem}" for problem in found]
        print(f"{'':36} {len(lines)} lines of log", flush=True)

    def _attack(self, name: str, port: str, server: Child, good: Child) -> list[str]:
        _settle(server, CLIENTS)
        good.ask()
        server.ask()
        before = _measure_anew(server.pid)
        seconds = max(self._seconds, HELLO_SECONDS + 1) if "silent" in name else self._seconds
        did = self._carry_out(name, port, seconds)
        during = server.ask()
        turns, collections = during["turns"], during["collections"]
        # A hundred that flood leave megabytes in the kernel's buffers, which are handled.
        leaves = name in LEAVE_WORK or name.startswith("hundred")
        took = _settle(server, CLIENTS, 5.0 if leaves else PATIENCE)
        grown = _peak(server.pid) - before
        told = good.ask()
        good.tell("end")
        last = good.answer()
        books = server.ask()
        print(
            f"{name:36} p50 {told['p50']} p99 {told['p99']} max {told['max']} ms, "
            f"turns p99 {turns['p99']} max {turns['max']} ms, "
            f"full collections {collections['2']}, the longest {collections['max 2']} ms, "
            f"{grown / MIB:+.0f} MiB, over after {took:.1f} s; {did['did']}, "
            f"ended {books['stats']['ended']}"
        )
        found = [*did["problems"], *told["problems"], *last["problems"], *books["violations"]]
        if last["unanswered"] or not told["answers"]:
            found.append(f"{last['unanswered']} messages of good clients were not answered")
        if took >= PATIENCE:
            found.append("not all that came with the attack has gone")
        if grown > BOUND + SLACK:
            found.append(f"memory grew by {grown / MIB:.0f} MiB")
        if self._most is not None and (told["p99"] or 0) > self._most:
            found.append(f"p99 was {told['p99']} ms")
        # One burst, and what has been earned meanwhile.
        if name == "rate-by-coming-back" and books["counts"]["count"] > RATE[1] + RATE[0] * (
            seconds + took + 5
        ):
            found.append(f"{books['counts']['count']} messages were handled")
        return found

    def _carry_out(self, name: str, port: str, seconds: float) -> dict[str, Any]:
        with subprocess.Popen(
            [sys.executable, "-m", "soak.attacking", name, port, str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        ) as attacker:
            pin(attacker.pid, first=False)
            said, _ = attacker.communicate()
        did: dict[str, Any] = json.loads(said)
        return did


def pin(pid: int, first: bool) -> None:
    """Give a process the first core, or the others; where there is one only, it stays there."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, cores[:1] if first else cores[1:] or cores)


def urge(pid: int) -> None:
    """Let a process go before the other work of the machine, where that is permitted.

    Not by a real-time class: the system lets others have 50 ms of each second beside those.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, -20)
        # Where sessions have equal shares, a priority counts within its own session only.
        Path(f"/proc/{pid}/autogroup").write_text("-20")


def _settle(server: Child, clients: int, patience: float = PATIENCE) -> float:
    """Wait until the server has just the good clients; returns the seconds that it took."""
    began = time.monotonic()
    while (took := time.monotonic() - began) < patience:
        stats: dict[str, Any] = server.ask()["stats"]
        if stats["connections"] == clients and stats["buffered_bytes"] < MIB:
            return took
        time.sleep(0.1)
    return took


def _measure_anew(pid: int) -> int:
    """Have the system forget the most memory that there was; returns how much there is."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _peak(pid)


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak.attacks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of all attacks together")
    parser.add_argument("--loop", default="auto", choices=["auto", "asyncio", "uvloop"])
    parser.add_argument("--p99", type=float, default=None, help="milliseconds")
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(ATTACKS)}")
    options = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("this watches processes in /proc, which only Linux has")
    names = options.names or list(ATTACKS)
    attacks = Attacks(options.loop, options.seconds / len(names), options.p99)
    for name in names:
        attacks.run(name)
    for problem in attacks.problems:
        print(f"PROBLEM: {problem}")
    return 1 if attacks.problems else 0


if __name__ == "__main__":
    sys.exit(main())
