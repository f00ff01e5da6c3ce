"""SIGKILL of one worker in mid-run, and what came of it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from time import perf_counter_ns

from hisock._cli.demo.nodes import Nodes


class Kill:
    """Kills the worker with the most players, and watches how the others go on.

    :param elapsed: seconds since the first move.
    :param say: shows a line.
    :ivar worker: the number of the killed worker.
    :ivar players: how many players it had, as the others say once they have noticed.
    :ivar noticed: after how many milliseconds, by the number of each worker that noticed
        (``node_leave``).
    :ivar returned: players that came back (``reconnect``).
    :ivar return_seconds: when the last of them did, from the kill on.
    :ivar over: whether all has been noticed and everybody is back.
    """

    def __init__(self, nodes: Nodes, elapsed: float, say: Callable[[str], None]) -> None:
        self._nodes = nodes
        self._say = say
        nodes.refresh()
        victim = max(nodes.running(), key=lambda one: int(one["clients"]))
        self._others = {one["number"] for one in nodes.running()} - {victim["number"]}
        self.worker: int = victim["number"]
        self.pid: int = victim["pid"]
        self.players: int = victim["clients"]
        self.elapsed = elapsed
        self.noticed: dict[int, float] = {}
        self.returned = 0
        self.return_seconds = 0.0
        self.over = False
        nodes.killed.add(self.pid)
        self._at = perf_counter_ns()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        say(
            f"{elapsed:5.1f} s  worker {self.worker} (process {self.pid}) with {self.players} "
            "players is killed"
        )

    @property
    def noticed_by_all(self) -> bool:
        return self._others <= self.noticed.keys()

    @property
    def others_cut(self) -> int:
        """Players that lost their connection though it was to another worker."""
        return max(0, self.returned - self.players)

    def watch(self, returned: list[int]) -> None:
        """Look what has happened.

        :param returned: when each player that is back came back, in nanoseconds.
        """
        self._nodes.refresh()
        for leave in self._nodes.leaves:
            number = leave["number"]
            if leave["pid"] == self.pid and number not in self.noticed:
                self.players = leave["clients"]
                self.noticed[number] = (leave["at"] - self._at) / 1e6
                self._say(
                    f"         worker {number} noticed {self.noticed[number]:.1f} ms after the "
                    f"kill (node_leave), and names {self.players} players"
                )
        self.returned = len(returned)
        if returned:
            self.return_seconds = (max(returned) - self._at) / 1e9
        if not self.over and self._settled():
            self.over = True
            again = self._nodes.reports[self.worker]["pid"]
            self._say(f"         {self._came_back()}; worker {self.worker} is process {again} now")

    def _settled(self) -> bool:
        """Whether everybody is back and known everywhere, also to the worker's successor."""
        players = sum(one["clients"] for one in self._nodes.running())
        return (
            self.noticed_by_all
            and self.returned >= self.players
            and self._nodes.reports[self.worker]["pid"] != self.pid
            and all(one["known"] == players for one in self._nodes.running())
        )

    def _came_back(self) -> str:
        return (
            f"{self.returned} of {self.players} players came back (reconnect), the last one "
            f"{self.return_seconds:.2f} s after the kill"
        )

    def summary(self) -> list[str]:
        """The lines of the summary."""
        delays = ", ".join(
            f"{self.noticed[number]:.1f} ms by worker {number}" for number in sorted(self.noticed)
        )
        missing = ", ".join(map(str, sorted(self._others - self.noticed.keys())))
        lines = [
            f"killed        worker {self.worker} with {self.players} players, "
            f"after {self.elapsed:.1f} s",
            f"noticed       {delays or 'by none'}",
            f"back          {self._came_back()}",
        ]
        if missing:
            lines.append(f"not noticed   by worker {missing}")
        return lines
