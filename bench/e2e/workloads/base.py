"""What a workload is, and what it gets to measure with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .. import compiling, processes
from ..contenders import Contender, Role
from ..machine import Machine
from ..places import ROOT


@dataclass(frozen=True)
class Settings:
    """How long and how often; "quick" and "full" are two of these."""

    seconds: float
    """Measured part of one run of a throughput or latency workload."""
    warmup: float
    rounds: int
    long_rounds: int
    """Rounds of what takes long (the crowds) or hardly varies (memory)."""
    search_rounds: int
    """Rounds of the search for the number of players, which takes longest."""
    player_seconds: float
    clients: int
    """Idle clients for memory and joins."""
    crowd: int
    """Connections of the larger of the two crowds in "scale"."""
    everybody: bool
    """Whether those take part that a workload keeps for the full set."""


QUICK = Settings(0.5, 0.1, 3, 1, 1, 1.5, 2000, 5000, False)
FULL = Settings(3.0, 0.5, 7, 3, 3, 5.0, 2000, 5000, True)


@dataclass(frozen=True)
class Measurement:
    value: float
    details: dict[str, float] = field(default_factory=dict)

    def figure(self, key: str) -> float | None:
        """A detail, or the figure itself without a key."""
        return self.details.get(key) if key else self.value


@dataclass
class Bench:
    """Starts servers and generators, and remembers the versions that the servers told."""

    machine: Machine
    settings: Settings
    pythons: Mapping[str, Path]
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    """Number of players that a contender held last: where its next search begins."""
    shared_core: bool = False
    """Put the load generator on the server's core."""

    @contextmanager
    def serving(self, contender: Contender, role: Role = "echo") -> Iterator[processes.Server]:
        script = contender.folder / contender.server
        if script.suffix == ".c":
            command = [str(compiling.server(contender.server))]
        else:
            command = [str(self.pythons[contender.environment]), str(script)]
        command += [argument.replace("{role}", role) for argument in contender.arguments]
        variables = dict(contender.variables)
        if contender.environment == "hisock" and str(self.pythons["hisock"]) == sys.executable:
            variables["PYTHONPATH"] = str(ROOT)  # this tree, whatever else is installed
        name, core = contender.name, self.machine.server_core
        with processes.serving(name, command, variables, core) as server:
            self.versions[contender.name] = server.versions
            yield server

    def generate(
        self, contender: Contender, server: processes.Server, program: str, **options: object
    ) -> dict[str, float]:
        """Runs a load generator against the server; options become --name value.

        It inherits the descriptor that is the option `listener`, if there is one.
        """
        settings = self.settings
        options = {"seconds": settings.seconds, "warmup": settings.warmup, **options}
        listener = options.get("listener")
        inherited = (listener,) if isinstance(listener, int) else ()
        limit = 20.0 + 2 * settings.seconds
        command = compiling.generator(program, options.get("tls") is True)
        return processes.generate(
            command, self._options(contender, server, options), self._core(), limit, inherited
        )

    @contextmanager
    def round_trips(
        self, contender: Contender, role: Role = "echo", **message: object
    ) -> Iterator[Callable[[], Measurement]]:
        """A server, and what makes a short series of single round trips to it."""
        brief = {"seconds": self.settings.seconds / 5, "warmup": self.settings.warmup / 5}
        with self.serving(contender, role) as server:

            def measure() -> Measurement:
                options = {**message, **brief}
                result = self.generate(contender, server, "roundtrip", **options)
                return Measurement(result["median_us"], result)

            yield measure

    def holding(
        self, contender: Contender, server: processes.Server, program: str, **options: object
    ) -> AbstractContextManager[Callable[[], dict[str, float]]]:
        """A load generator that pauses; see processes.holding."""
        command = compiling.generator(program)
        return processes.holding(
            command, self._options(contender, server, options), self._core(), 60
        )

    def _core(self) -> int | None:
        return self.machine.server_core if self.shared_core else self.machine.generator_core

    def _options(
        self, contender: Contender, server: processes.Server, options: Mapping[str, object]
    ) -> dict[str, object]:
        return {
            "wire": contender.wire,
            "port": server.port,
            "server-pid": server.pid,
            "inflight": contender.inflight,
            **{key.replace("_", "-"): value for key, value in options.items()},
        }


Turns = AbstractContextManager[Callable[[], Measurement]]
Hold = Callable[[Bench, Contender], Turns]


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    unit: str
    better: Literal["more", "less"]
    references: tuple[str, ...]
    """Contenders that all others are divided by."""
    contenders: tuple[str, ...]
    measure: Callable[[Bench, Contender], Measurement] | None = None
    hold: Hold | None = None
    """In place of ``measure``: starts the contender, and gives what measures it once more. All are
    held at the same time and measured in turn."""
    columns: tuple[tuple[str, str], ...] = ()
    """Details worth a column: key in Measurement.details, heading."""
    weight: Literal["short", "long", "search"] = "short"
    """Which of the three numbers of rounds in Settings holds."""
    only_full: frozenset[str] = frozenset(("hisock-aiofastnet",))
    """Contenders that the quick set leaves out, unless they are named."""

    def taking_part(self, settings: Settings, named: frozenset[str] | None) -> list[str]:
        """The contenders of a run, in order.

        :param named: those that are asked for; ``None`` for the set's own.
        """
        if named is None:
            left_out = frozenset() if settings.everybody else self.only_full
            return [name for name in self.contenders if name not in left_out]
        return [name for name in self.contenders if name in named]

    def rounds(self, settings: Settings) -> int:
        return {
            "short": settings.rounds,
            "long": settings.long_rounds,
            "search": settings.search_rounds,
        }[self.weight]
