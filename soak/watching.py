"""What the operating system says of a process. Linux only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """A process at one moment.

    :ivar memory: bytes that are resident.
    """

    seconds: float
    memory: int
    descriptors: int
    threads: int
    cpu: float

    @classmethod
    def of(cls, pid: int, seconds: float) -> Sample:
        folder = Path(f"/proc/{pid}")
        stat = (folder / "stat").read_text().rpartition(")")[2].split()
        return cls(
            seconds,
            int((folder / "statm").read_text().split()[1]) * PAGE,
            len(os.listdir(folder / "fd")),
            len(os.listdir(folder / "task")),
            (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"),
        )
