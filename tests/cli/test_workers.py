"""Several worker processes behind one address: real processes, real signals."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.events import PATIENCE, Events
from support.process import Program, environment

import hisock

from .running import serve

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform == "win32", reason="workers need Unix sockets"),
]

GAME = """
import os, sys
import hisock

server = hisock.HiSockServer(None, websocket={websocket}, ssl={ssl})
bound = None if "unbound" in sys.argv else hisock.HiSockServer(("127.0.0.1", 0))

@server.on("pid")
def pid(client):
    return os.getpid()

@server.on("exit")
def exit(client, status: int):
    os._exit(status)

@server.on("close")
def close(client):
    server.close()
"""
SCRIPT = """
import os, sys
import hisock

server = hisock.start_server(("127.0.0.1", 0), workers=2)

@server.on("pid")
def pid(client):
    return os.getpid()

print("before")
server.start()
print("after")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "game.py").write_text(GAME.format(websocket=False, ssl=None), "utf-8")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n", "utf-8")
    (tmp_path / "script.py").write_text(SCRIPT, "utf-8")
    return tmp_path


class Workers:
    """``hisock serve game:server --workers N``, and what answers there."""

    def __init__(self, folder: Path, count: int = 2, bind: str = "127.0.0.1:0") -> None:
        self.count = count
        self.program = serve(folder, "game:server", "--bind", bind, "--workers", str(count))
        try:
            line = self.program.wait_line(r"Serving at .* with \d+ worker")
        except AssertionError:
            self.program.kill()
            raise
        found = re.search(r":(\d+) with", line)
        self.addr: tuple[str, int] | str = ("127.0.0.1", int(found[1])) if found else bind

    def asked(self) -> int:
        with hisock.connect(self.addr) as client:
            return client.call("pid", type=int, timeout=PATIENCE)

    def pids(self, than: frozenset[int] = frozenset()) -> frozenset[int]:
        """The processes that answer: as many as there are workers, none of them of ``than``."""
        found: set[int] = set()
        for _ in range(400):
            found.add(self.asked())
            if len(found - than) == self.count:
                return frozenset(found - than)
        raise AssertionError(f"only {found - than} answer, of {self.count}")

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.kill()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_gone(pids: frozenset[int]) -> None:
    pause = threading.Event()
    for _ in range(1500):
        if all(gone(pid) for pid in pids):
            return
        pause.wait(0.01)
    raise AssertionError(f"still there: {[pid for pid in pids if not gone(pid)]}")


@pytest.fixture
def workers(folder: Path) -> Iterator[Workers]:
    with Workers(folder) as running:
        yield running


def test_a_killed_worker_is_replaced_and_sigterm_ends_all(workers: Workers) -> None:
    before = workers.pids()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    after = workers.pids(than=frozenset({victim}))
    assert len(after & before) == 1
    assert "signal SIGKILL" in workers.program.errors
    workers.program.terminate()
    assert workers.program.wait(30) == 0
    wait_gone(after)


def test_ctrl_c_ends_all_in_order(workers: Workers) -> None:
    before = workers.pids()
    with hisock.ThreadedHiSockClient(workers.addr) as client:
        events = Events()
        client.on("force_disconnect")(lambda: events.add("goodbye"))
        client.start()
        client.call("pid", timeout=PATIENCE)
        workers.program.interrupt()
        events.wait_for("goodbye")
    assert workers.program.wait(30) == 130
    wait_gone(before)


def test_sighup_brings_new_processes_while_clients_come_back(
    workers: Workers, closing: contextlib.ExitStack
) -> None:
    before = workers.pids()
    clients = []
    for number in range(6):
        client = hisock.ThreadedHiSockClient(workers.addr, f"c{number}", reconnect=True)
        closing.callback(client.close)
        client.start()
        clients.append(client)
    assert {client.call("pid", type=int, timeout=PATIENCE) for client in clients} <= before
    os.kill(workers.program.pid, signal.SIGHUP)
    wait_gone(before)
    for client in clients:
        assert patient_pid(client) not in before


def patient_pid(client: hisock.HiSockClient) -> int:
    """What serves a client, once it is back."""
    pause = threading.Event()
    for _ in range(1500):
        try:
            return client.call("pid", type=int, timeout=PATIENCE)
        except hisock.ConnectionLost:
            pause.wait(0.01)
    raise AssertionError("the client did not come back")


def test_no_worker_outlives_a_parent_that_is_killed(workers: Workers) -> None:
    before = workers.pids()
    workers.program.kill()
    wait_gone(before)


def test_a_worker_that_starts_while_its_parent_is_killed_ends_too(folder: Path) -> None:
    """It does not take itself for a parent, and a program that it starts not for a worker."""
    waiting = folder / "waiting"
    (folder / "game.py").write_text(
        "import os, pathlib, subprocess, sys, time, hisock\n"
        "worker = 'HISOCK_WORKER' in os.environ\n"
        "server = hisock.HiSockServer(None)\n"
        "if worker:\n"
        "    code = 'from hisock._cluster.assignment import assignment; print(assignment())'\n"
        "    assert subprocess.check_output([sys.executable, '-c', code]) == b'None\\n'\n"
        "    pathlib.Path('waiting').write_text(str(os.getpid()))\n"
        "    while not os.path.exists('go'): time.sleep(0.01)\n",
        "utf-8",
    )
    with serve(folder, "game:server", "--workers", "2", "--bind", "127.0.0.1:0") as program:
        pause = threading.Event()
        while not (waiting.exists() and waiting.read_text()):
            pause.wait(0.01)
        program.kill_alone()
        (folder / "go").touch()
        wait_gone(frozenset({int(waiting.read_text())}))
        assert "Serving" not in "".join(program.lines)


def test_a_program_that_closes_its_server_ends_all(workers: Workers) -> None:
    before = workers.pids()
    with hisock.connect(workers.addr) as client:
        client.send("close")
        assert workers.program.wait(30) == 0
    wait_gone(before)


def test_a_new_program_that_fails_leaves_the_old_workers(workers: Workers, folder: Path) -> None:
    before = workers.pids()
    game = folder / "game.py"
    text = game.read_text("utf-8")
    game.write_text("raise SystemExit('no game today')", "utf-8")
    os.kill(workers.program.pid, signal.SIGHUP)
    pause = threading.Event()
    while "are kept" not in workers.program.errors:
        pause.wait(0.02)
    assert workers.pids() == before
    game.write_text(text, "utf-8")


def test_unix_sockets_are_shared_and_removed_at_the_end(folder: Path) -> None:
    path = str(folder / "game.socket")
    with Workers(folder, bind=path) as workers:
        assert workers.addr == path
        workers.pids()
        workers.program.terminate()
        assert workers.program.wait(30) == 0
        assert not Path(path).exists()


def test_a_program_of_its_own_is_run_once_in_each_worker(folder: Path) -> None:
    env = environment(PYTHONPATH=str(Path(hisock.__file__).parents[1]))
    with Program([sys.executable, "script.py"], env, cwd=folder) as program:
        found = re.search(r":(\d+) with 2 workers", program.wait_line("Serving at"))
        assert found is not None
        with hisock.connect(("127.0.0.1", int(found[1]))) as client:
            assert client.call("pid", type=int, timeout=PATIENCE) != program.pid
        program.terminate()
        assert program.wait(30) == 0
        assert program.lines.count("before") == 3
        assert program.lines.count("after") == 1


def test_tls_and_websockets_are_served_by_workers_as_well(folder: Path) -> None:
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "cert.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    game = GAME.format(websocket=True, ssl='("cert.pem", "cert.pem")')
    (folder / "game.py").write_text(game, "utf-8")
    with Workers(folder, bind="localhost:0") as workers:
        assert isinstance(workers.addr, tuple)
        addr = ("localhost", workers.addr[1])
        with hisock.connect(addr, ssl=str(folder / "ca.pem")) as client:
            assert client.call("pid", type=int, timeout=PATIENCE) != workers.program.pid
        websockets = pytest.importorskip("websockets.sync.client")
        import ssl

        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        with websockets.connect(f"wss://localhost:{addr[1]}", ssl=context) as websocket:
            websocket.send(b"")
        workers.program.terminate()
        assert workers.program.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["game:bound", "--workers", "2"], 2, "HiSockServer(None)"),
        (["game:server", "--workers", "2"], 2, "give one"),
        (["broken:server", "--workers", "2", "--bind", ":0"], 1, "nothing_of_that_name"),
    ],
)
def test_what_cannot_be_served_is_said(
    folder: Path, arguments: list[str], status: int, said: str
) -> None:
    with serve(folder, *arguments) as program:
        assert program.wait(30) == status
        assert said in program.errors


def test_a_port_that_others_have_is_refused_even_if_they_share_it(folder: Path) -> None:
    with socket.socket() as other:
        if hasattr(socket, "SO_REUSEPORT"):
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        with serve(folder, "game:server", "--workers", "2", "--bind", bind) as program:
            assert program.wait(30) == 2
            assert "in use already" in program.errors


def test_a_worker_that_cannot_start_ends_the_program_with_the_reason(folder: Path) -> None:
    (folder / "game.py").write_text(
        "import hisock, os\n"
        "if 'HISOCK_WORKER' in os.environ: raise OSError('no disk')\n"
        "server = hisock.HiSockServer(None)\n",
        "utf-8",
    )
    with serve(folder, "game:server", "--workers", "3", "--bind", "127.0.0.1:0") as program:
        assert program.wait(30) == 2
        assert program.errors.count("no disk") == 1
        assert "worker 0 ended with exit status 2 before it accepted clients" in program.errors
