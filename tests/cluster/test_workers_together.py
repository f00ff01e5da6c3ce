"""Workers of one machine are one server: real processes, Unix sockets between them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.events import PATIENCE, Events
from support.polling import eventually
from support.process import Program, environment

import hisock

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform == "win32", reason="workers need Unix sockets"),
]

GAME = """
import os
import hisock

server = hisock.HiSockServer(None, unique_names=True, announce="none", keepalive=False)

@server.on("where")
def where(client):
    return [os.getpid(), len(server), len(server.local), len(server.cluster.nodes)]

@server.on("say")
def say(client, text: str):
    return server.send_group("all", "said", text)

@server.on("ask")
async def ask(client, name: str):
    return await server.call(name, "double", 21, type=int)

@server.on("node_leave")
def lost(node, clients):
    server.local.send_all_clients("lost", sorted(client.name for client in clients))
"""


@pytest.fixture
def addr(tmp_path: Path) -> Iterator[tuple[str, int]]:
    (tmp_path / "game.py").write_text(GAME, "utf-8")
    env = environment(PYTHONPATH=str(Path(hisock.__file__).parents[1]))
    command = ["serve", "game:server", "--bind", "127.0.0.1:0", "--workers", "2"]
    program = Program([sys.executable, "-m", "hisock", *command], env, cwd=tmp_path)
    try:
        found = re.search(r":(\d+) with", program.wait_line(r"Serving at .* with \d+ worker"))
        assert found is not None
        yield ("127.0.0.1", int(found[1]))
    finally:
        program.kill()


def on_both(addr: tuple[str, int], stack: contextlib.ExitStack) -> list[Any]:
    """A client on each worker, with what it hears."""
    by_pid: dict[int, Any] = {}
    for number in range(200):
        client = hisock.threaded_connect(addr, name=f"p{number}", group="all")
        heard = Events()
        client.on("said")(lambda text, heard=heard: heard.add(text.decode()))
        client.on("lost")(lambda text, heard=heard: heard.add(text.decode()))
        client.on("double")(lambda number: 2 * int(number))
        client.start()
        pid = client.call("where", type=list, timeout=PATIENCE)[0]
        if pid in by_pid:
            client.close()
            continue
        stack.callback(client.close)
        by_pid[pid] = (client, heard, pid, f"p{number}")
        if len(by_pid) == 2:
            break
    else:
        raise AssertionError("all clients came to one worker")

    def know_each_other() -> bool:
        return all(one.call("where", type=list)[1] == 2 for one, *_ in by_pid.values())

    eventually(know_each_other, "both workers know of both clients, and of no others")
    return list(by_pid.values())


def test_clients_of_two_workers_reach_each_other(addr: tuple[str, int]) -> None:
    with contextlib.ExitStack() as stack:
        (one, heard_one, _, _), (two, heard_two, pid, name) = on_both(addr, stack)
        assert one.call("say", "hello", type=int) == 2
        heard_one.wait_for("hello")
        heard_two.wait_for("hello")
        assert one.call("ask", name, type=int) == 42
        with pytest.raises(hisock.ConnectionRejected):
            hisock.connect(addr, name=name).recv(timeout=PATIENCE)
        two.close()  # it would come back by itself otherwise
        while one.call("where", type=list)[1] != 1:
            pass  # the worker may not have noticed before it is killed
        os.kill(pid, signal.SIGKILL)
        heard_one.wait_for("[]")
