"""The C programs, load generators and the floor: compiled at first use and after changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from .places import CACHE, LOADGEN, SERVERS, BenchError

FLAGS = ("-O2", "-std=c11", "-Wall", "-Wextra")
TLS = ("-DBENCH_TLS", "-lssl", "-lcrypto")
"""What a program that speaks TLS is compiled with; it needs the headers of OpenSSL."""
SHARED = ("accepting.c", "crowd.c", "wire.c", "secure.c", "tool.c")


@cache
def generator(name: str, tls: bool = False) -> Path:
    """The load generator loadgen/<name>.c, linked with what they all share."""
    sources = [LOADGEN / f"{name}.c", *(LOADGEN / other for other in SHARED)]
    return _compile(name, sources, TLS if tls else ())


@cache
def server(file: str) -> Path:
    return _compile(Path(file).stem, [SERVERS / file], TLS if "tls" in file else ())


def _compile(name: str, sources: list[Path], more: tuple[str, ...]) -> Path:
    digest = hashlib.sha256(" ".join((*FLAGS, *more)).encode())
    for path in [*sources, *sorted(LOADGEN.glob("*.h"))]:
        digest.update(path.read_bytes())
    program = CACHE / "bin" / f"{name}-{digest.hexdigest()[:12]}"
    if program.exists():
        return program
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise BenchError("the load generators are in C: install a C compiler (cc)")
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")
    command = [compiler, *FLAGS, "-o", str(unfinished), *map(str, sources), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed:\n{done.stderr}")
    unfinished.rename(program)
    return program
