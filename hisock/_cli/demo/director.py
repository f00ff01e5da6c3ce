"""Starts the processes of the demo, collects their counts, and says whether anything was lost."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Protocol

from hisock._cli.demo.control import Child, DemoError, Message
from hisock._cli.demo.moves import Histogram
from hisock._cli.demo.pages import Pages
from hisock._cli.demo.players import PATIENCE, Roster

#: Seconds that a child may take to start, to join or to answer.
SLACK = 60.0


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
    """

    elapsed: float
    players: int
    received: float
    delivered: float
    server_load: float
    latency: Histogram


@dataclass
class Result:
    """What came of it.

    :ivar seconds: how long the players moved.
    :ivar sent: moves made.
    :ivar expected: copies of them that had to arrive: each move at every member of its room.
    :ivar heard: copies that did arrive, in order.
    :ivar disordered: copies that came twice or late.
    :ivar misdirected: copies that came to the wrong room.
    :ivar cut_off: players whose connection ended before the game did.
    :ivar framing: the framing core of the server, ``"compiled"`` or ``"python"``.
    """

    settings: Settings
    seconds: float = 0.0
    sent: int = 0
    expected: int = 0
    heard: int = 0
    disordered: int = 0
    misdirected: int = 0
    cut_off: int = 0
    framing: str = ""
    latency: Histogram = field(default_factory=Histogram)

    @property
    def lost(self) -> int:
        return self.expected - self.heard

    @property
    def ok(self) -> bool:
        wrong = self.lost or self.disordered or self.misdirected or self.cut_off
        return self.sent > 0 and not wrong


class Screen(Protocol):
    """Where the demo shows itself."""

    #: Seconds between two calls of :meth:`show`.
    interval: float

    def say(self, text: str) -> None: ...

    def show(self, glance: Glance) -> None: ...


class _Stage:
    """The children, and what they have said."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._inbox: queue.Queue[tuple[Child, Message | None]] = queue.Queue()
        self._heard: dict[tuple[Child, str], deque[Message]] = defaultdict(deque)

    def start(self, module: str, settings: Message) -> Child:
        return self._stack.enter_context(Child(module, settings, self._inbox))

    def collect(
        self, kind: str, children: Iterable[Child], timeout: float = SLACK
    ) -> list[Message]:
        """One message of that kind from each child.

        :raises DemoError: a child ended, or said nothing in time.
        """
        deadline = perf_counter() + timeout
        messages = []
        for child in children:
            waiting = self._heard[child, kind]
            while not waiting:
                self._hear(child, kind, deadline)
            messages.append(waiting.popleft())
        return messages

    def _hear(self, awaited: Child, kind: str, deadline: float) -> None:
        try:
            child, message = self._inbox.get(timeout=max(0.0, deadline - perf_counter()))
        except queue.Empty:
            raise DemoError(f"the {awaited.name} process did not say {kind!r} in time") from None
        if message is None:
            status = child.end()
            raise DemoError(
                f"the {child.name} process ended early, with status {status}\n{child.last_words()}"
            )
        self._heard[child, message["kind"]].append(message)


class _Game:
    """One run, from the first process to the last."""

    def __init__(self, settings: Settings, stage: _Stage, server_module: str) -> None:
        self.settings = settings
        self.result = Result(settings)
        self._stage = stage
        self._server = stage.start(
            server_module,
            {
                "port": settings.port,
                "host": settings.host,
                "players": settings.players,
                "web": settings.web,
            },
        )
        (ready,) = stage.collect("ready", [self._server])
        self.result.framing = ready["framing"]
        self.port: int = ready["port"]
        self._crowds = [
            stage.start(
                "hisock._cli.demo.players",
                {**asdict(settings), "port": self.port, "index": index},
            )
            for index in range(settings.processes)
        ]
        stage.collect("joined", self._crowds)
        self._counts: Message = {}

    def await_everybody(self) -> None:
        """Return once the server knows all players: from then on no move may be missed."""
        deadline = perf_counter() + SLACK
        pause = threading.Event()
        while self._ask_server()["clients"] < self.settings.players:
            if perf_counter() > deadline:
                raise DemoError("not all players could join")
            pause.wait(0.05)

    def play(self, screen: Screen, interrupted: threading.Event) -> None:
        self._tell_all("go")
        start = before = perf_counter()
        counts = self._ask_server()
        while before - start < self.settings.seconds and not interrupted.is_set():
            rest = start + self.settings.seconds - perf_counter()
            interrupted.wait(max(0.0, min(screen.interval, rest)))
            now, last = perf_counter(), counts
            counts, latency = self._ask_server(), self._ask_crowds()
            passed = now - before
            screen.show(
                Glance(
                    elapsed=now - start,
                    players=counts["clients"],
                    received=(counts["received"] - last["received"]) / passed,
                    delivered=(counts["delivered"] - last["delivered"]) / passed,
                    server_load=(counts["cpu"] - last["cpu"]) / passed,
                    latency=latency,
                )
            )
            before = now
        self._tell_all("finish")
        self.result.seconds = perf_counter() - start

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
            self.result.cut_off += done["cut_off"]
            self.result.latency.merge(done["latencies"])
        self._tell_all("leave")
        return self.result

    def _tell_all(self, word: str) -> None:
        for crowd in self._crowds:
            crowd.tell(word)

    def _ask_server(self) -> Message:
        self._server.tell("counts")
        return self._stage.collect("counts", [self._server])[0]

    def _ask_crowds(self) -> Histogram:
        """The latencies since the last time, of all players."""
        self._tell_all("counts")
        latency = Histogram()
        for counts in self._stage.collect("counts", self._crowds):
            latency.merge(counts["latencies"])
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
        game = _Game(settings, _Stage(stack), server_module)
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
    return (
        f"{settings.players} players in {crowd}, {rooms} room{'s' if rooms > 1 else ''} of "
        f"{min(settings.rooms_of, settings.players)}, {settings.rate:g} moves a second each; "
        f"{framing} framing core"
    )
