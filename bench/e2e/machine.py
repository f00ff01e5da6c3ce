"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int
    server_core: int | None
    generator_core: int | None
    python: str
    kernel: str

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def describe(self) -> str:
        if self.server_core is None:
            where = "one core only: server and load generator share it, so every figure holds both"
        else:
            where = (
                f"server on core {self.server_core}, load generator on core {self.generator_core}"
            )
        return f"{self.cpu}, {self.cores} cores; {where}; Python {self.python}; Linux {self.kernel}"


def look() -> Machine:
    """This machine. With two cores or more, the first two that we may use are taken."""
    cores = sorted(os.sched_getaffinity(0))
    apart = len(cores) >= 2
    return Machine(
        cpu=_cpu_model(),
        cores=len(cores),
        server_core=cores[0] if apart else None,
        generator_core=cores[1] if apart else None,
        python=f"{platform.python_version()} ({sys.implementation.name})",
        kernel=platform.release(),
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


class Load:
    """How busy other programs kept this machine since this was made: they distort every figure."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy = _busy_seconds()
        self._own = _own_seconds()

    def others(self) -> float:
        """Cores that programs other than ours kept busy, on average."""
        busy = _busy_seconds() - self._busy - (_own_seconds() - self._own)
        return max(0.0, busy / (time.monotonic() - self._began))

    def describe(self) -> str:
        others = self.others()
        text = f"other programs kept {others:.2f} cores busy meanwhile"
        return text if others < 0.1 else f"{text}: measure again on a quiet machine"


def _busy_seconds() -> float:
    """CPU time spent on this machine so far, not idle, not waiting; what the host took counts."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Ours and that of all children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
