"""Servers and load generators as processes: pinned to cores, bounded in time, dead at the end."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .places import CACHE, BenchError

START_LIMIT = 20.0
"""Seconds that a server may take until it accepts connections."""

_PR_SET_PDEATHSIG = 1


def _child(core: int | None) -> Callable[[], None]:
    """What a child does before it becomes its program: go to its core, and die when we do."""
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if core is not None:
            os.sched_setaffinity(0, {core})

    return prepare


@dataclass(frozen=True)
class Server:
    pid: int
    port: int
    versions: dict[str, str]

    def resident(self) -> int:
        """Its resident memory in bytes, once that stands still (or after two seconds)."""
        last = -1
        for _ in range(20):
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            if pages == last:
                break
            last = pages
            time.sleep(0.1)  # nothing reports that an allocator has come to rest
        return last * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def serving(
    name: str, command: Sequence[str], variables: Mapping[str, str], core: int | None
) -> Iterator[Server]:
    """The server, ready for connections; killed at the end.

    Its stderr goes to .bench/logs/<name>.log. Raises BenchError with its last words when it does
    not get ready.
    """
    log = CACHE / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "PYTHONHASHSEED": "0", **variables},
            preexec_fn=_child(core),
        )
        assert process.stdout is not None
        # Some servers print; a full pipe would stop them.
        drain = threading.Thread(target=_discard, args=(process.stdout.fileno(),), daemon=True)
        try:
            server = _await_ready(process)
            drain.start()
            yield server
        except BenchError as error:
            if not _ends(process):
                raise
            raise BenchError(f"{error}; the server had stopped: {_last_words(log)}") from None
        finally:
            process.kill()
            process.wait()
            if drain.is_alive():
                drain.join()  # before its descriptor can become another file
            process.stdout.close()


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, or does so within half a second."""
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        return False
    return True


def _last_words(log: Path) -> str:
    said = log.read_text(errors="replace").strip().splitlines()
    return said[-1] if said else "it said nothing"


def _await_ready(process: subprocess.Popen[bytes]) -> Server:
    assert process.stdout is not None
    fd = process.stdout.fileno()
    line = b""
    deadline = time.monotonic() + START_LIMIT
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(fd, 4096) if readable else b""
        if not piece:
            raise BenchError("the server did not start")
        line += piece
    ready = json.loads(line)
    return Server(process.pid, ready["port"], ready["versions"])


def _discard(fd: int) -> None:
    try:
        while os.read(fd, 65536):
            pass
    except OSError:
        pass


def _result(line: str) -> dict[str, float]:
    if not line:
        raise BenchError("the load generator ended without a result")
    result: dict[str, Any] = json.loads(line)
    if "error" in result:
        raise BenchError(str(result["error"]))
    return result


def _command(program: Path, options: Mapping[str, object], limit: float) -> list[str]:
    command = [str(program), "--limit", str(limit)]
    for key, value in options.items():
        command.append(f"--{key}")
        if value is not True:
            command.append(str(value))
    return command


def generate(
    program: Path,
    options: Mapping[str, object],
    core: int | None,
    limit: float,
    inherited: Sequence[int] = (),
) -> dict[str, float]:
    """Runs a load generator to its end. It stops itself after `limit` seconds.

    `inherited` are descriptors that it gets.
    """
    try:
        done = subprocess.run(
            _command(program, options, limit),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=limit + 5,
            pass_fds=inherited,
            preexec_fn=_child(core),
        )
    except subprocess.TimeoutExpired:
        raise BenchError("the load generator did not end in time") from None
    return _result(done.stdout)


@contextmanager
def holding(
    program: Path, options: Mapping[str, object], core: int | None, limit: float
) -> Iterator[Callable[[], dict[str, float]]]:
    """A load generator that pauses: each call lets it go on and returns its next line.

    The first call only waits for the first line.
    """
    process = subprocess.Popen(
        _command(program, options, limit),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        preexec_fn=_child(core),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    started = False

    def next_line() -> dict[str, float]:
        nonlocal started
        if started:
            stdin.write("\n")
        started = True
        return _result(stdout.readline())

    try:
        yield next_line
    finally:
        process.kill()
        process.wait()
        stdout.close()
        try:
            stdin.close()
        except BrokenPipeError:
            pass
