"""The servers that :mod:`bench.e2e.cluster` measures, with their brokers."""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from support.brokers import Broker
from support.process import free_port

from . import environments

SERVERS = Path(__file__).parent / "servers"
TICKS = os.sysconf("SC_CLK_TCK")
#: Seconds between two readings of what was used.
METER_SECONDS = 0.05


@dataclass(frozen=True)
class Kind:
    """One way to serve.

    :ivar workers: of one parent; 0 for processes of their own, ``processes`` of them.
    :ivar broker: a kind of broker, or ``""`` for Unix sockets.
    :ivar wire: ``"sio"`` for python-socketio.
    :ivar cluster: whether the processes know each other.
    :ivar share: of the players; the control for as many processes as have the whole.
    """

    name: str
    workers: int = 0
    processes: int = 1
    broker: str = ""
    cluster: bool = True
    wire: str = "hisock"
    share: float = 1

    @property
    def servers(self) -> int:
        """How many processes share the clients."""
        return self.workers or self.processes


ALONE = Kind("1 process")
KINDS = [
    ALONE,
    Kind("1 with half of the players", share=1 / 2),
    Kind("1 with a quarter of them", share=1 / 4),
    Kind("2, no cluster", processes=2, cluster=False),
    Kind("4, no cluster", processes=4, cluster=False),
    Kind("2 workers", workers=2),
    Kind("4 workers", workers=4),
    Kind("2, NATS", workers=2, broker="nats-newest"),
    Kind("2, Redis", workers=2, broker="redis"),
    Kind("2, rooms apart", processes=2),
]
#: Players for the comparison: python-socketio gives up above 40.
PEER_PLAYERS = (40, 200)
WITH_REDIS = Kind("hisock, 2 and Redis", workers=2, broker="redis")
PEERS = [
    WITH_REDIS,
    Kind("hisock, 2, no cluster", processes=2, cluster=False),
    Kind("python-socketio, 2 and Redis", processes=2, broker="redis", wire="sio"),
]


def seconds_of(pids: list[int]) -> float:
    """Processor time of some processes so far."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # the thread has ended
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def busy_seconds() -> float:
    """Processor time that everything on this machine has used so far."""
    user, nice, system, _, _, irq, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft) / TICKS


class Meter:
    """Reads now and then what servers and brokers have used, so that joins can be left out."""

    def __init__(self, servers: list[int], brokers: list[int]) -> None:
        self._pids = servers, brokers
        #: Moments, each with the seconds of the servers, the brokers and all.
        self._samples: list[tuple[float, ...]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        servers, brokers = self._pids
        while True:
            used = seconds_of(servers), seconds_of(brokers), busy_seconds()
            self._samples.append((time.monotonic(), *used))
            if self._ended.wait(METER_SECONDS):
                return

    def between(self, began: float, ended: float) -> list[float]:
        """What was used between two moments: of servers, of brokers, and of all."""
        return [late - early for early, late in zip(self._at(began), self._at(ended), strict=True)]

    def _at(self, moment: float) -> list[float]:
        later = bisect.bisect_left(self._samples, moment, key=lambda sample: sample[0])
        later = min(max(later, 1), len(self._samples) - 1)
        (began, *before), (ended, *after) = self._samples[later - 1 : later + 1]
        share = min(max((moment - began) / (ended - began), 0), 1)
        return [early + share * (late - early) for early, late in zip(before, after, strict=True)]


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Served:
    """The processes of a kind, with their ports."""

    def __init__(self, kind: Kind, url: str, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self.wire = kind.wire
        self.ports: list[int] = []
        self.pids: list[int] = []
        command = self._peer(url) if kind.wire != "hisock" else self._command(kind, url)
        for _ in range(kind.processes):
            # In a session of its own, as workers are: Linux shares processors between sessions.
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
            stack.callback(self._end, process)
            assert process.stdout is not None
            found = re.search(r"(?::|port\": )(\d+)", process.stdout.readline())
            assert found is not None, "the server did not start"
            self.ports.append(int(found[1]))
            self.pids += children(process.pid) if kind.workers else [process.pid]
        if kind.wire != "hisock":  # both listen there
            self.ports = self.ports[:1]

    def _command(self, kind: Kind, url: str) -> list[str]:
        options = ["apart"] if kind.processes > 1 else []
        program = str(SERVERS / "serve_cluster.py")
        return [sys.executable, program, str(kind.workers), url, str(self._folder), *options]

    @staticmethod
    def _peer(url: str) -> list[str]:
        python = str(environments.python_of("socketio"))
        return [python, str(SERVERS / "serve_socketio.py"), "move", url, str(free_port())]

    def crossed(self) -> list[int]:
        """How many messages and batches went to other processes, how many were lost here and
        there, and how often clients were written to. No figures of python-socketio.
        """
        each = [json.loads(path.read_text("utf-8")) for path in self._folder.glob("[0-9]*.json")]
        return [sum(column) for column in zip(*each, strict=True)] or [0] * 5

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def served(kind: Kind) -> Iterator[tuple[Served, list[int]]]:
    """Serve; with the pids of the broker, if there is one."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hisock-bench-")))
        url, brokers = "-", []
        if kind.broker:
            broker = Broker(kind.broker, folder)
            stack.callback(broker.kill)
            url, brokers = broker.url, [broker.pid]
        elif kind.processes > 1 and kind.cluster:
            url = f"local:{folder}"
        figures = folder / "figures"
        figures.mkdir()
        yield Served(kind, url, figures, stack), brokers
