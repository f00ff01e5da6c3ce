"""Starts the processes of the demo, collects their counts, and says whether anything was lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Protocol

from hisock._cli.demo.control import DemoError, Message
from hisock._cli.demo.kill import Kill
from hisock._cli.demo.moves import Histogram
from hisock._cli.demo.nodes import Nodes, WorkerRow
from hisock._cli.demo.pages import Pages
from hisock._cli.demo.players import PATIENCE, Roster
from hisock._cli.demo.stage import SLACK, Stage
from hisock._cluster.config import shown_url


@dataclass(frozen=True)
class Settings:
    """What to play.

    :ivar players: simulated players in all.
    :ivar rooms_of: players to a room.
    :ivar rate: moves a second of each player.
    :ivar seconds: how long they move.
    :ivar processes: processes that share the players; the server has one of its own.
    :ivar port: port of the server, 0 for any free one.
    :ivar host: the address that the server, and the page, listen on.
    :ivar web: whether browsers play along.
    :ivar web_port: port of the page for them.
    :ivar workers: processes that run the server; ``None`` is one without a cluster.
    :ivar cluster: the URL of what joins them; ``None`` is Unix sockets.
    :ivar kill_after: seconds after which one of them is killed; ``None`` never does.
    """

    players: int = 200
    rooms_of: int = 20
    rate: float = 20.0
    seconds: float = 10.0
    processes: int = 2
    port: int = 0
    host: str = "127.0.0.1"
    web: bool = False
    web_port: int = 0
    workers: int | None = None
    cluster: str | None = field(default=None, repr=False)
    kill_after: float | None = None

    @property
    def roster(self) -> Roster:
        return Roster(self.players, self.rooms_of, self.processes)


@dataclass(frozen=True)
class Glance:
    """The last interval, for the screen.

    :ivar elapsed: seconds since the first move.
    :ivar players: clients connected to the server.
    :ivar received: moves that reached the server, a second.
    :ivar delivered: copies that it handed on, a second.
    :ivar server_load: processor time of the server, as a share of one core.
    :ivar rows: those of each worker, where there are workers.
    """

    elapsed: float
    players: int
    received: float
    delivered: float
    server_load: float
    latency: Histogram
    rows: list[WorkerRow] = field(default_factory=list)


@dataclass
class Result:
    """What came of it.

    :ivar seconds: how long the players moved.
    :ivar sent: moves made.
    :ivar expected: copies of them that had to arrive: each move at every member of its room.
    :ivar heard: copies that did arrive, in order.
    :ivar disordered: copies that came twice or late.
    :ivar misdirected: copies that came to the wrong room.
    :ivar cut: copies that did not arrive because of the kill: they were on their way, or for
        players who were not back yet.
    :ivar cut_off: players whose connection ended before the game did, and whom no kill explains.
    :ivar kill: the kill, where there was one.
    :ivar framing: the framing core of the server, ``"compiled"`` or ``"python"``.
    """

    settings: Settings
    seconds: float = 0.0
    sent: int = 0
    expected: int = 0
    heard: int = 0
    disordered: int = 0
    misdirected: int = 0
    cut: int = 0
    cut_off: int = 0
    kill: Kill | None = None
    framing: str = ""
    latency: Histogram = field(default_factory=Histogram)

    @property
    def lost(self) -> int:
        return self.expected - self.heard - self.cut

    @property
    def ok(self) -> bool:
        wrong = self.lost or self.disordered or self.misdirected or self.cut_off
        return self.sent > 0 and not wrong and (self.kill is None or self.kill.noticed_by_all)


class Screen(Protocol):
    """Where the demo shows itself."""

    #: Seconds between two calls of :meth:`show`.
    interval: float

    def say(self, text: str) -> None: ...

    def show(self, glance: Glance) -> None: ...


class _OneServer:
    """The server in a process of its own."""

    def __init__(self, stage: Stage, settings: Settings, module: str) -> None:
        self._stage = stage
        given = asdict(settings)
        self._child = stage.start(
            module, {name: given[name] for name in ("port", "host", "players", "web")}
        )
        (ready,) = stage.collect("ready", [self._child])
        self.framing: str = ready["framing"]
        self.port: int = ready["port"]

    def counts(self) -> Message:
        self._child.tell("counts")
        return self._stage.collect("counts", [self._child])[0]

    def known(self) -> int:
        return int(self.counts()["clients"])

    def rows(self) -> list[WorkerRow]:
        return []


class _Game:
    """One run, from the first process to the last."""

    def __init__(self, settings: Settings, stage: Stage, server_module: str) -> None:
        self.settings = settings
        self.result = Result(settings)
        self._stage = stage
        self._nodes: Nodes | None = None
        self._server: Nodes | _OneServer
        if settings.workers is None:
            self._server = _OneServer(stage, settings, server_module)
        else:
            self._server = self._nodes = Nodes(
                stage, settings.workers, settings.cluster, self._public("port", "host", "players")
            )
        self.result.framing = self._server.framing
        self.port = self._server.port
        played = self._public("players", "rooms_of", "rate", "processes", "host")
        played.update(port=self.port, reconnect=settings.kill_after is not None)
        self._crowds = [
            stage.start("hisock._cli.demo.players", {**played, "index": index})
            for index in range(settings.processes)
        ]
        stage.collect("joined", self._crowds)

    def _public(self, *names: str) -> Message:
        """Settings that may be seen among the arguments of a process."""
        return {name: getattr(self.settings, name) for name in names}

    def await_everybody(self) -> None:
        """Return once the server knows all players: from then on no move may be missed."""
        deadline = perf_counter() + SLACK
        pause = threading.Event()
        while self._server.known() < self.settings.players:
            if perf_counter() > deadline:
                raise DemoError("not all players could join")
            pause.wait(0.05)

    def play(self, screen: Screen, interrupted: threading.Event) -> None:
        self._tell_all("go")
        start = before = perf_counter()
        end, strike = self.settings.seconds, self.settings.kill_after
        counts = self._server.counts()
        self._server.rows()  # so that the first ones shown have something to be compared with
        while before - start < end and not interrupted.is_set():
            elapsed = perf_counter() - start
            if strike is not None and elapsed >= strike:
                strike = None
                self._kill_one(elapsed, screen)
            next_event = min(end, end if strike is None else strike)
            interrupted.wait(max(0.0, min(screen.interval, next_event - elapsed)))
            now, last = perf_counter(), counts
            counts, latency = self._server.counts(), self._ask_crowds()
            passed = now - before
            screen.show(
                Glance(
                    elapsed=now - start,
                    players=counts["clients"],
                    received=(counts["received"] - last["received"]) / passed,
                    delivered=(counts["delivered"] - last["delivered"]) / passed,
                    server_load=(counts["cpu"] - last["cpu"]) / passed,
                    latency=latency,
                    rows=self._server.rows(),
                )
            )
            before = now
        self._await_return()
        self._tell_all("finish")
        self.result.seconds = perf_counter() - start

    def _kill_one(self, elapsed: float, screen: Screen) -> None:
        assert self._nodes is not None
        self.result.kill = Kill(self._nodes, elapsed, screen.say)

    def _await_return(self) -> None:
        """Go on playing until the kill is over: a last move must not be one of those it cut."""
        deadline = perf_counter() + PATIENCE + SLACK
        pause = threading.Event()
        kill = self.result.kill
        while kill is not None and not kill.over and perf_counter() < deadline:
            pause.wait(0.1)
            self._ask_crowds()

    def settle(self) -> Result:
        """Wait for the last moves and add up."""
        members = self.settings.roster.members
        for done in self._stage.collect("done", self._crowds, SLACK + PATIENCE):
            for room, sent in done["sent"]:
                self.result.sent += sent
                self.result.expected += sent * len(members(room))
            self.result.heard += done["heard"]
            self.result.disordered += done["disordered"]
            self.result.misdirected += done["misdirected"]
            self.result.cut += done["cut"]
            self.result.cut_off += done["cut_off"]
            self.result.latency.merge(done["latencies"])
        if self.result.kill is not None:
            self.result.cut_off += self.result.kill.others_cut
        self._tell_all("leave")
        return self.result

    def _tell_all(self, word: str) -> None:
        for crowd in self._crowds:
            crowd.tell(word)

    def _ask_crowds(self) -> Histogram:
        """The latencies since the last time, of all players."""
        self._tell_all("counts")
        latency = Histogram()
        returned: list[int] = []
        for counts in self._stage.collect("counts", self._crowds):
            latency.merge(counts["latencies"])
            returned += counts["returned"]
        if self.result.kill is not None:
            self.result.kill.watch(returned)
        self.result.latency.merge(latency.pairs())
        return latency


def run(
    settings: Settings,
    screen: Screen,
    interrupted: threading.Event,
    server_module: str = "hisock._cli.demo.server",
    visit: Callable[[str], object] | None = None,
) -> Result:
    """Play, and leave no process behind.

    :param interrupted: when set, the players finish and the counts are taken as they are then.
    :param server_module: the game server; a test gives one that loses messages.
    :param visit: called with the address of the page, where there is one.
    :raises DemoError: a process failed.
    """
    with contextlib.ExitStack() as stack:
        game = _Game(settings, Stage(stack), server_module)
        game.await_everybody()
        screen.say(describe(settings, game.result.framing))
        if settings.web:
            page = stack.enter_context(Pages(settings.host, settings.web_port, game.port))
            screen.say(f"The page is at {page.url}, and Ctrl-C ends the game")
            if visit is not None:
                visit(page.url)
        game.play(screen, interrupted)
        return game.settle()


def describe(settings: Settings, framing: str) -> str:
    """One line that says what is played."""
    crowd = "1 process" if settings.processes == 1 else f"{settings.processes} processes"
    rooms = settings.roster.rooms
    servers = ""
    if settings.workers is not None:
        link = "Unix sockets" if settings.cluster is None else shown_url(settings.cluster)
        servers = f"{settings.workers} workers joined by {link}, "
    return (
        f"{servers}{settings.players} players in {crowd}, "
        f"{rooms} room{'s' if rooms > 1 else ''} of "
        f"{min(settings.rooms_of, settings.players)}, {settings.rate:g} moves a second each; "
        f"{framing} framing core"
    )
