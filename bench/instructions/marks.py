"""The bridge to callgrind: count from here to there, under a name."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("marks.c")


def build(directory: Path) -> Path:
    """Compiles marks.c into `directory`; RuntimeError without a compiler or valgrind's header."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("no C compiler")
    library = directory / "marks.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"marks.c does not compile (valgrind's headers?):\n{done.stderr}")
    return library


class Marks:
    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        self._library.marks_start()

    def zero(self) -> None:
        self._library.marks_zero()

    def dump(self, name: str) -> None:
        self._library.marks_dump(name.encode())

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        self.zero()
        yield
        self.dump(name)
