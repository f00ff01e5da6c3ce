"""The workers of the game server, as the director sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex
from threading import Event
from time import perf_counter

from hisock._cli.demo.control import DemoError, Message
from hisock._cli.demo.stage import SLACK, Stage

#: Seconds between two reports of a worker.
REPORT_SECONDS = 0.2
#: Seconds that they may take to find each other.
JOIN_SECONDS = 15.0
#: The environment variable with the URL of the cluster, which may hold a password.
CLUSTER_VARIABLE = "HISOCK_DEMO_CLUSTER"
_COUNTERS = ("received", "delivered", "batches", "cpu")


@dataclass(frozen=True)
class WorkerRow:
    """One worker, for the screen; rates are those since the last row.

    :ivar number: the worker's number.
    :ivar pid: its process.
    :ivar killed: whether that was killed, and the next one does not serve yet.
    :ivar players: clients connected to it.
    :ivar received: moves that reached it, a second.
    :ivar delivered: copies of these, wherever they went, a second.
    :ivar batches: batches to other workers, a second.
    :ivar load: processor time, as a share of one core.
    """

    number: int
    pid: int
    killed: bool
    players: int
    received: float
    delivered: float
    batches: float
    load: float


class Nodes:
    """Several workers behind one address.

    :param cluster: the URL of what joins them; ``None`` is Unix sockets.
    :param settings: what else they are told.
    :raises DemoError: they did not start.
    """

    def __init__(self, stage: Stage, workers: int, cluster: str | None, settings: Message) -> None:
        self._stage = stage
        # A name of its own, so that two demos with one broker do not play together.
        given = {**settings, "workers": workers, "app": f"demo-{token_hex(8)}"}
        private = {} if cluster is None else {CLUSTER_VARIABLE: cluster}
        self._parent = stage.start("hisock._cli.demo.workers", given, private)
        #: The last report of each worker, by its number.
        self.reports: dict[int, Message] = {}
        self.killed: set[int] = set()
        #: What workers said of a node that is gone.
        self.leaves: list[Message] = []
        self._ended = dict.fromkeys(_COUNTERS, 0.0)
        self._shown: dict[int, Message] = {}
        self._await(SLACK, "start", lambda: len(self.reports) == workers)
        self._await(JOIN_SECONDS, "find each other", self._all_joined)
        first = self.reports[0]
        self.port: int = first["port"]
        self.framing: str = first["framing"]

    def _await(self, seconds: float, what: str, done: Callable[[], bool]) -> None:
        deadline = perf_counter() + seconds
        pause = Event()
        while not done():
            if perf_counter() > deadline:
                said = self._parent.last_words()
                raise DemoError(f"the workers did not {what} within {seconds:g} seconds\n{said}")
            pause.wait(0.05)
            self.refresh()

    def _all_joined(self) -> bool:
        others = len(self.reports) - 1
        return all(one["others"] == others for one in self.reports.values())

    def refresh(self) -> None:
        """Take in what has been said.

        :raises DemoError: the parent of the workers, or a process of players, ended.
        """
        for report in self._stage.take(self._parent, "report"):
            before = self.reports.get(report["number"])
            if before is not None and before["pid"] != report["pid"]:
                for name in _COUNTERS:
                    self._ended[name] += before[name]
            self.reports[report["number"]] = report
        self.leaves += self._stage.take(self._parent, "node_leave")

    def running(self) -> list[Message]:
        """The last reports of those that have not been killed."""
        return [one for one in self.reports.values() if one["pid"] not in self.killed]

    def counts(self) -> Message:
        """What all of them have counted since the start, together."""
        self.refresh()
        every = self.reports.values()
        sums = {name: self._ended[name] + sum(one[name] for one in every) for name in _COUNTERS}
        return {**sums, "clients": sum(one["clients"] for one in self.running())}

    def known(self) -> int:
        """How many players each of them knows at least, its own and those of the others."""
        self.refresh()
        return min((int(one["known"]) for one in self.running()), default=0)

    def rows(self) -> list[WorkerRow]:
        """One for each worker, in the order of their numbers."""
        return [self._row(number) for number in sorted(self.reports)]

    def _row(self, number: int) -> WorkerRow:
        now = self.reports[number]
        last = self._shown.get(number)
        self._shown[number] = now
        rates = dict.fromkeys(_COUNTERS, 0.0)
        if last is not None and last["pid"] == now["pid"] and now["at"] > last["at"]:
            seconds = (now["at"] - last["at"]) / 1e9
            rates = {name: (now[name] - last[name]) / seconds for name in _COUNTERS}
        killed = now["pid"] in self.killed
        return WorkerRow(
            number=number,
            pid=now["pid"],
            killed=killed,
            players=0 if killed else now["clients"],
            received=rates["received"],
            delivered=rates["delivered"],
            batches=rates["batches"],
            load=rates["cpu"],
        )
