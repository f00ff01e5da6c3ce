"""``hisock serve --reload``: a process of its own for the server, started again on changes.

The old process is closed by SIGTERM, so that the server says the goodbye that makes clients with
``reconnect`` come back. A program that fails is started again when a file has changed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hisock._cli.usage import INTERRUPTED, UNUSABLE, Unusable, parse_address
from hisock._runtime.sockets import address_text, listen

#: Seconds between two looks at the files, and at whether the server still runs.
INTERVAL = 0.3
#: Seconds that a server has to close before it is killed.
PATIENCE = 15.0
#: Tells the server's process by which descriptor it hears that this one has ended.
_VARIABLE = "HISOCK_RELOADER"
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})


def serve_reloading(target: str, bind: str | None, folders: list[Path]) -> int:
    """Run a server until Ctrl-C or SIGTERM, again after each change; returns the exit status."""
    try:
        command = [sys.executable, "-m", "hisock", "serve", target]
        if bind is not None:
            command += ["--bind", _with_real_port(bind)]
    except (Unusable, OSError, TypeError) as exc:
        print(f"hisock serve: {exc}", file=sys.stderr)
        return UNUSABLE
    with _signals() as told:
        return _Reloading(command, told).run(_watch(folders))


def _with_real_port(bind: str) -> str:
    """The same address with a port that stays the same, where any free one was asked for.

    :raises Unusable: it is no address.
    :raises OSError: it is in use, or is not one of this machine.
    """
    address = parse_address(bind)
    if isinstance(address, str) or address[1]:
        return bind
    probe = listen(address)[0]
    probe.close()
    return address_text((address[0], probe.addr[1]))


class _Reloading:
    """The process of the server, one after the other.

    :param command: what starts it.
    :param told: gets the signals that end it all.
    """

    def __init__(self, command: list[str], told: list[int]) -> None:
        self._command = command
        self._told = told
        self._lifeline = _Lifeline()
        self._told_of: subprocess.Popen[bytes] | None = None

    def run(self, changes: Iterator[list[str]]) -> int:
        child = self._start()
        for changed in changes:
            if self._told:
                _end(child)
                return INTERRUPTED if self._told[0] == signal.SIGINT else 0
            if changed:
                names = ", ".join(sorted(map(os.path.relpath, changed))[:3])
                print(f"Reloading: {names} changed", flush=True)
                _end(child)
                child = self._start()
            elif child.poll() == 0:
                return 0
            elif child.returncode is not None:
                self._tell_of_failure(child)
        return 0

    def _start(self) -> subprocess.Popen[bytes]:
        return self._lifeline.start(self._command)

    def _tell_of_failure(self, child: subprocess.Popen[bytes]) -> None:
        """Say once that the server is not there; the next change starts another."""
        if self._told_of is not child:
            self._told_of = child
            text = f"The server ended with status {child.returncode}; waiting for a change"
            print(text, flush=True)


class _Lifeline:
    """A pipe whose writing end only this process has, so that its end is told however it comes."""

    def __init__(self) -> None:
        # Windows passes on no descriptors by their numbers; a server outlives the watcher there.
        self._ends = os.pipe() if os.name == "posix" else None

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        if self._ends is None:
            return subprocess.Popen(command)
        reading = self._ends[0]
        environment = {**os.environ, _VARIABLE: f"{reading} {os.fstat(reading).st_ino}"}
        return subprocess.Popen(command, env=environment, pass_fds=(reading,))


def end_with_reloader() -> None:
    """In the process of the server: end as by SIGTERM when the one that watches is gone."""
    told = os.environ.pop(_VARIABLE, None)
    if told is None:
        return
    reading, inode = map(int, told.split())
    try:
        if os.fstat(reading).st_ino != inode:
            return
    except OSError:
        return  # the variable was inherited, but not the pipe

    def wait() -> None:
        os.read(reading, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="hisock-reloader", daemon=True).start()


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM; the terminal sends the server a SIGINT of its own."""
    told: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(folders: list[Path]) -> Iterator[list[str]]:
    """The Python files that have changed, every :data:`INTERVAL`; mostly none."""
    try:
        from watchfiles import PythonFilter, watch
    except ImportError:
        yield from _poll(folders)
        return
    milliseconds = int(INTERVAL * 1000)
    for changes in watch(
        *folders,
        watch_filter=PythonFilter(),
        yield_on_timeout=True,
        rust_timeout=milliseconds,
        debounce=milliseconds,
        raise_interrupt=False,
    ):
        yield [path for _, path in changes]


def _poll(folders: list[Path]) -> Iterator[list[str]]:
    before = _stamps(folders)
    while True:
        time.sleep(INTERVAL)
        now = _stamps(folders)
        yield [path for path in before.keys() | now.keys() if before.get(path) != now.get(path)]
        before = now


def _stamps(folders: list[Path]) -> dict[str, int]:
    """When each Python file was changed last."""
    found: dict[str, int] = {}
    for folder in folders:
        for where, names, files in os.walk(folder):
            names[:] = [name for name in names if name not in _SKIPPED and name[0] != "."]
            for name in files:
                if name.endswith(".py"):
                    path = os.path.join(where, name)
                    try:
                        found[path] = os.stat(path).st_mtime_ns
                    except OSError:  # gone already
                        continue
    return found
