"""``hisock serve``: real processes, real signals."""

from __future__ import annotations

import queue
import re
import threading
from pathlib import Path

import pytest

import hisock

from .running import serve

pytestmark = pytest.mark.timeout(60)

GAME = """
import gc
import hisock

server = hisock.HiSockServer(None)
bound = hisock.HiSockServer(("127.0.0.1", 0))
number = 5

@server.on("ping")
def ping(client):
    return "pong"

@server.on("frozen")
def frozen(client):
    return gc.get_freeze_count()

def make():
    return server

def sized(players):
    return server

def failing():
    raise RuntimeError("no map")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "game.py").write_text(GAME, "utf-8")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n", "utf-8")
    return tmp_path


@pytest.mark.parametrize("name", ["game:server", "game:make"])
def test_it_serves_until_it_is_told_to_end(folder: Path, name: str) -> None:
    with serve(folder, name, "--bind", "127.0.0.1:0") as program:
        found = re.search(r":(\d+);", program.wait_line(r"at 127\.0\.0\.1:\d+;"))
        assert found is not None
        with hisock.connect(("127.0.0.1", int(found[1]))) as client:
            assert client.call("ping", type=str) == "pong"
            # What was imported is not looked at again by each garbage collection.
            assert client.call("frozen", type=int) > 1000
        program.terminate()
        assert program.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["game"], "module:server"),
        ([".game:server"], "module:server"),
        (["nowhere:server", "--bind", ":0"], "no module 'nowhere'"),
        (["game:nobody", "--bind", ":0"], "has no 'nobody'"),
        (["game:number", "--bind", ":0"], "is int"),
        (["game:sized", "--bind", ":0"], "missing a required argument: 'players'"),
        (["game:server"], "give one"),
        (["game:server", "--bind", "here"], "no address"),
        (["game:server", "--bind", "no-such-host.invalid:0"], "cannot be resolved"),
        (["game:bound", "--bind", ":0"], "already"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    folder: Path, arguments: list[str], said: str
) -> None:
    with serve(folder, *arguments) as program:
        assert program.wait(20) == 2
        lines = program.errors.strip().splitlines()
        assert len(lines) == 1
        assert said in lines[0]


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("broken:server", "import nothing_of_that_name"),
        ("game:failing", 'raise RuntimeError("no map")'),
    ],
)
def test_an_error_in_the_program_is_shown_with_its_own_lines_only(
    folder: Path, target: str, line: str
) -> None:
    with serve(folder, target, "--bind", ":0") as program:
        assert program.wait(20) == 1
        assert "Traceback" in program.errors
        assert line in program.errors
        assert re.findall(r'File ".*[/\\](\w+)\.py"', program.errors) == [target.partition(":")[0]]


def test_a_changed_file_restarts_the_server_and_clients_come_back(folder: Path) -> None:
    with serve(folder, "game:server", "--bind", "127.0.0.1:0", "--reload") as program:
        found = re.search(r":(\d+);", program.wait_line(r"at 127\.0\.0\.1:\d+;"))
        assert found is not None
        with hisock.ThreadedHiSockClient(("127.0.0.1", int(found[1])), reconnect=True) as client:
            back = threading.Event()
            client.on("reconnect")(back.set)
            client.start()
            assert client.call("ping", type=str) == "pong"
            changed = GAME.replace('"pong"', '"pong again"').replace(
                "(None)", "(None, restart_after=0)"
            )
            (folder / "game.py").write_text(changed, "utf-8")
            program.wait_line(r"Reloading: game\.py changed")
            assert back.wait(30)
            assert client.call("ping", type=str) == "pong again"
        # What fails is waited for, and runs again when it is mended.
        (folder / "game.py").write_text("def", "utf-8")
        program.wait_line("waiting for a change")
        (folder / "game.py").write_text(GAME + "\n", "utf-8")
        program.wait_line(r"at 127\.0\.0\.1:\d+;")
        program.interrupt()
        assert program.wait(20) == 130


def test_a_server_ends_when_what_reloads_it_is_killed(folder: Path) -> None:
    with serve(folder, "game:server", "--bind", "127.0.0.1:0", "--reload") as program:
        found = re.search(r":(\d+);", program.wait_line(r"at 127\.0\.0\.1:\d+;"))
        assert found is not None
        with hisock.ThreadedHiSockClient(("127.0.0.1", int(found[1]))) as client:
            reasons: queue.SimpleQueue[str] = queue.SimpleQueue()
            client.on("force_disconnect")(lambda: reasons.put("goodbye"))
            client.start()
            assert client.call("ping", type=str) == "pong"  # it runs, and takes signals
            program.kill_alone()
            assert reasons.get(timeout=20) == "goodbye"
